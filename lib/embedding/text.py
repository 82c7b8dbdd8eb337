"""Sentences in, vectors out: a text encoder under its contract. Specs: see `text_specs`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lib.embedding import backbones, runtimes
from lib.embedding.text_specs import PACKAGED, TextContract, TextSpec, resolve, text_contract
from lib.embedding.vectors import to_half, unit
from lib.errors import BackboneUnavailableError

if TYPE_CHECKING:
    import torch

__all__ = ["PACKAGED", "TextContract", "TextEncoder", "TextSpec", "resolve", "text_contract"]

# Part of the contract's `long_texts`: 64 windows of 256 tokens hold some 12,000 words.
_MOST_WINDOWS = 64
_CHUNK, _BATCH = 4096, 32


class Tower(Protocol):
    """A network and its tokenizer.

    Attributes:
        pad: The token that fills a batch's shorter rows.
    """

    pad: int

    def windows(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each window of each text, marks included, and the place of the text it is from."""

    def vectors(self, tokens: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        """One vector (b, dim) for each row of tokens (b, n), of which those with a mask of 1 count."""


class TextEncoder:
    """Encodes texts under one contract. Opening it loads the network.

    Attributes:
        spec: What encodes.
        contract: What its vectors mean.
        runtime_name: What runs it, with versions.
    """

    def __init__(
        self, spec: str | TextSpec, *, device: backbones.Device = "auto", threads: int | None = None
    ):
        """Open a text encoder.

        Args:
            spec: Spec string, or what `resolve` made of one.
            device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
            threads: CPU threads; None for all that this process may use.

        Raises:
            UsageError: The spec is written wrong.
            BackboneUnavailableError: The weights or the tokenizer are not here, can't be read or don't fit.
        """
        import torch

        self.spec = resolve(spec) if isinstance(spec, str) else spec
        self.contract: TextContract = self.spec.contract
        self._device = backbones.pick_device(device)
        self._threads = (threads or runtimes.usable_threads()) if self._device == "cpu" else 1
        self._tower = _opened(self.spec, self._device)
        where = f"{self._threads} at a time" if self._device == "cpu" else "GPU"
        self.runtime_name = f"torch {torch.__version__} float32, batches of {_BATCH}, {where}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts, (n, dim) float16, in their order.

        A text of more tokens than the network sees at once is read in windows, whose vectors are averaged by
        their tokens. Cut instead, a report would lose its impression, which comes last; and of five texts of
        1,000 tokens (captions of 20 pictures of Flickr8k each), MiniLM told which one a picture's further
        caption belongs to in .51 of 100 cases by windows, in .40 cut. A text of one window gets what the
        network's makers publish. What is beyond 64 windows is left out.

        Args:
            texts: None of them empty (`lib.sentences.checked_text` refuses those).

        Raises:
            BackboneUnavailableError: The network answers with no finite numbers.
        """
        made = np.zeros((len(texts), self.contract.dim), np.float16)
        with self._workers() as pool:
            for start in range(0, len(texts), _CHUNK):
                made[start : start + _CHUNK] = self._encoded(list(texts[start : start + _CHUNK]), pool)
        return made

    @contextmanager
    def _workers(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that take a batch each. Many small operations gain nothing from sharing theirs.

        MiniLM on captions, 2 busy cores, texts a second of CPU time: 43 with torch's two threads in each
        operation, which wait for one another; 189 with one.
        """
        import torch

        before = torch.get_num_threads()
        if self._device == "cpu":
            torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(self._threads) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)

    def _encoded(self, texts: list[str], pool: ThreadPoolExecutor) -> np.ndarray:
        before = self.contract.prompt
        windows, owners = self._tower.windows(
            [before + (text.lower() if self.spec.lower else text) for text in texts]
        )
        # Rows of one length share a batch, so that hardly any padding is computed; the longest come first,
        # so that memory that is enough at the start is enough.
        kept = sorted(_first_windows(owners), key=lambda place: -len(windows[place]))
        batches = [kept[start : start + _BATCH] for start in range(0, len(kept), _BATCH)]
        rows = [[windows[place] for place in batch] for batch in batches]
        total = np.zeros((len(texts), self.contract.dim), np.float32)
        for batch, vectors in zip(batches, pool.map(self._ran, rows), strict=True):
            if vectors.shape[1] != self.contract.dim:
                raise BackboneUnavailableError(
                    f"{self.contract.encoder} answers with {vectors.shape[1]} numbers a text, where its "
                    f"config.json tells {self.contract.dim}. Fetch the whole repository again"
                )
            lengths = np.array([[len(windows[place])] for place in batch], np.float32)
            np.add.at(total, [owners[place] for place in batch], unit(vectors) * lengths)
        if not np.isfinite(total).all() or not total.any(axis=1).all():
            raise BackboneUnavailableError(
                f"{self.contract.encoder} answers with vectors that are not finite or all zero: its weights "
                "are damaged. Fetch them again"
            )
        return to_half(unit(total))

    def _ran(self, rows: list[list[int]]) -> np.ndarray:
        import torch

        longest = max(map(len, rows))
        tokens = torch.full((len(rows), longest), self._tower.pad, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        with torch.inference_mode():
            made = self._tower.vectors(tokens.to(self._device), mask.to(self._device))
        answer: np.ndarray = made.float().cpu().numpy()
        return answer


def _first_windows(owners: list[int]) -> Iterator[int]:
    """Places of the windows that count: the first so many of each text."""
    seen: dict[int, int] = {}
    for place, owner in enumerate(owners):
        seen[owner] = seen.get(owner, 0) + 1
        if seen[owner] <= _MOST_WINDOWS:
            yield place


def _opened(spec: TextSpec, device: str) -> Tower:
    if spec.form == "dinotxt":
        from lib.embedding import dinotxt

        return dinotxt.opened(spec, device)
    return _HuggingFace(spec, device)


class _HuggingFace:
    """A network and tokenizer of transformers, from a folder: no file beyond it, no address, no pickle."""

    def __init__(self, spec: TextSpec, device: str):
        import torch
        from transformers import AutoModel, AutoTokenizer, CLIPTextModelWithProjection

        safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        kind = CLIPTextModelWithProjection if spec.form == "clip" else AutoModel
        try:
            with _quietly():
                self._tokenizer: Any = AutoTokenizer.from_pretrained(spec.folder, **safely)
                network, told = kind.from_pretrained(
                    spec.folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **safely
                )
        except Exception as error:  # tokenizers raises bare Exceptions, transformers every kind
            said = str(error).strip().split("\n")[0] or type(error).__name__
            raise BackboneUnavailableError(
                f"the text encoder in {spec.folder} can't be opened: {said.rstrip('.')}. Wanted is a "
                "folder as save_pretrained makes it, with safetensors and a tokenizer, that needs no code "
                "of its own"
            ) from error
        # A pooler's own layers aren't used, and many encoders are published without.
        missing = [name for name in told["missing_keys"] if not name.startswith("pooler.")]
        if missing or told["mismatched_keys"]:
            raise BackboneUnavailableError(
                f"the weights in {spec.folder} don't fit its config.json: {len(missing)} tensors are missing "
                f"{missing[:1]}, {len(told['mismatched_keys'])} have another shape. Fetch the whole "
                "repository again"
            )
        if not getattr(self._tokenizer, "is_fast", False):
            raise BackboneUnavailableError(
                f"{spec.folder} has no tokenizer.json, and none can be made of what it has: fetch one"
            )
        self._network = network.eval().to(device)
        self._pooling, self._limit = spec.contract.pooling, spec.contract.max_tokens
        self.pad = self._tokenizer.pad_token_id or 0

    def windows(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        taken = self._tokenizer(
            texts,
            truncation=True,
            max_length=self._limit,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return list(taken["input_ids"]), list(taken["overflow_to_sample_mapping"])

    def vectors(self, tokens: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        made: torch.Tensor
        answer = self._network(input_ids=tokens, attention_mask=mask)
        if self._pooling == "projected_end":
            made = answer.text_embeds
        elif self._pooling == "cls":
            made = answer.last_hidden_state[:, 0]
        elif self._pooling == "last":
            made = answer.last_hidden_state[range(len(tokens)), mask.sum(1) - 1]
        else:
            weights = mask[..., None].float()
            made = (answer.last_hidden_state * weights).sum(1) / weights.sum(1).clamp(min=1)
        return made


@contextmanager
def _quietly() -> Iterator[None]:
    """Transformers' progress bars and advice stay out of our standard error."""
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
