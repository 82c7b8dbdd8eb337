"""The text tower of Meta's dino.txt, and CLIP's byte pairs that it reads.

The network is that of facebookresearch/dinov3, eval/text/text_transformer.py and text_tower.py, as its
hub/dinotxt.py puts it together: causal pre-norm blocks without layer scale, the vector read at the text's end
and projected. Its parameters have the names that the published checkpoint has after `text_model.`
(dinov3_vitl16_dinotxt_vision_head_and_text_encoder-….pth).

The checkpoint also holds the vision head (`visual_model.head`): two blocks over all of ViT-L/16's tokens,
whose CLS beside its mean patch is what a text compares with directly. It isn't run here: stored features are
those before it, and an aligner learns the way between.
"""

import gzip
import html
import re
import unicodedata
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from lib.embedding import checkpoints
from lib.embedding.text_specs import TOWER, TextSpec
from lib.errors import BackboneUnavailableError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HEAD_WIDTH = 64  # 20 heads of 1280, as in every CLIP; the shapes don't tell
_BYTES = 256
_MOST_VOCABULARY_BYTES = 1 << 25
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# What ftfy (which Meta's tokenizer calls) puts for typographers' marks; its guesses at wrongly decoded text
# are left out.
_PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"', "ʼ": "'"}
    | {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "ſt", "ﬆ": "st"}
)


class Attention(nn.Module):  # type: ignore[misc]
    """Causal self-attention; queries, keys and values without bias."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, n, width) to the same."""
        rows, places, width = tokens.shape
        split = self.qkv(tokens).reshape(rows, places, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        made = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        answer: torch.Tensor = self.proj(made.transpose(1, 2).reshape(rows, places, width))
        return answer


class FeedForward(nn.Module):  # type: ignore[misc]
    """Two layers with a GELU between."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, n, width) to the same."""
        answer: torch.Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return answer


class Block(nn.Module):  # type: ignore[misc]
    """Attention and feed-forward, each on normed tokens and added to them."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.ffn_norm, self.feed_forward = nn.LayerNorm(width), FeedForward(width, hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, n, width) to the same."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        answer: torch.Tensor = tokens + self.feed_forward(self.ffn_norm(tokens))
        return answer


class Backbone(nn.Module):  # type: ignore[misc]
    """Token and place embeddings, blocks, a last norm."""

    def __init__(self, *, vocabulary: int, places: int, width: int, depth: int, hidden: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(places, width))
        heads = max(1, width // _HEAD_WIDTH)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.ln_final = nn.LayerNorm(width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(b, n) token ids to (b, n, width)."""
        tokens = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.blocks:
            tokens = block(tokens)
        answer: torch.Tensor = self.ln_final(tokens)
        return answer


class TextTower(nn.Module):  # type: ignore[misc]
    """Token ids to vectors: what the published checkpoint calls `text_model`."""

    def __init__(self, backbone: Backbone, dim: int):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Module()
        width = backbone.token_embedding.embedding_dim
        self.head.linear_projection = nn.Linear(width, dim, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(b, n) token ids, 0 after the end, to (b, dim); what comes after the end changes nothing."""
        tokens = self.backbone(ids)
        # The mark of the end has the greatest id of all.
        ends = tokens[torch.arange(len(ids), device=ids.device), ids.argmax(dim=1)]
        answer: torch.Tensor = self.head.linear_projection(ends)
        return answer


class DinoTxt:
    """The tower and its tokenizer, ready for `TextEncoder`."""

    pad = 0

    def __init__(self, tower: TextTower, tokenizer: "Tokenizer", *, vocabulary: int, max_tokens: int):
        self._tower, self._tokenizer, self._room = tower, tokenizer, max_tokens - 2
        self._start, self._end = vocabulary - 2, vocabulary - 1

    def windows(self, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each window of each text, marks included, and the place of the text it is from."""
        windows, owners = [], []
        for owner, taken in enumerate(self._tokenizer.encode_batch([cleaned(text) for text in texts])):
            for start in range(0, max(1, len(taken.ids)), self._room):
                windows.append([self._start, *taken.ids[start : start + self._room], self._end])
                owners.append(owner)
        return windows, owners

    def vectors(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One vector (b, dim) for each row of tokens (b, n)."""
        answer: torch.Tensor = self._tower(tokens)
        return answer


def opened(spec: TextSpec, device: str) -> DinoTxt:
    """The tower and the tokenizer of a checkpoint.

    Raises:
        BackboneUnavailableError: The checkpoint isn't one, or the vocabulary isn't its own.
    """
    tensors = {
        name.removeprefix(TOWER): tensor
        for name, tensor in checkpoints.tensors_of([spec.folder]).items()
        if name.startswith(TOWER)
    }
    vocabulary, width = tensors["backbone.token_embedding.weight"].shape
    depth = len({name.split(".")[2] for name in tensors if name.startswith("backbone.blocks.")})
    hidden = tensors.get("backbone.blocks.0.feed_forward.fc1.weight", torch.empty(4 * width, 0)).shape[0]
    # Made without values, which then come from the checkpoint: gigabytes are held once.
    with torch.device("meta"):
        backbone = Backbone(
            vocabulary=vocabulary, places=spec.contract.max_tokens, width=width, depth=depth, hidden=hidden
        )
        tower = TextTower(backbone, spec.contract.dim)
    try:
        tower.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:300]
        raise BackboneUnavailableError(
            f"the text tower in {spec.folder} isn't built as dino.txt's is: {told}"
        ) from error
    if spec.vocabulary is None:
        raise BackboneUnavailableError(f"{spec.spec} has no vocabulary: give it as ,vocab=FILE")
    tokenizer = byte_pairs(spec.vocabulary, vocabulary)
    tower = tower.eval().requires_grad_(False).to(device)
    return DinoTxt(tower, tokenizer, vocabulary=vocabulary, max_tokens=spec.contract.max_tokens)


def byte_pairs(path: Path, size: int) -> "Tokenizer":
    """CLIP's tokenizer, without marks for begin and end, whose ids are the last two of `size`.

    Ids count 256 bytes, the same at a word's end, then the merges in the file's order (Sennrich et al. 2016,
    https://arxiv.org/abs/1508.07909, on bytes; openai/CLIP, simple_tokenizer.py).

    Raises:
        BackboneUnavailableError: The file is no such list, or shorter than the vocabulary asks for.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    try:
        with gzip.open(path) as file:
            lines = file.read(_MOST_VOCABULARY_BYTES).decode("utf-8").split("\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BackboneUnavailableError(
            f"the vocabulary {path} can't be read: {error}. Wanted is CLIP's bpe_simple_vocab_16e6.txt.gz"
        ) from error
    wanted = size - 2 * _BYTES - 2
    pairs = [line.split() for line in lines[1 : 1 + wanted]]  # the first line is a heading
    if wanted < 0 or len(pairs) < wanted or any(len(pair) != 2 for pair in pairs):
        raise BackboneUnavailableError(
            f"the vocabulary {path} has no {max(wanted, 0):,} merges of two parts, which {size:,} tokens "
            "take: wanted is CLIP's bpe_simple_vocab_16e6.txt.gz"
        )
    symbols = _byte_symbols()
    merges = [(first, second) for first, second in pairs]
    known = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges)]
    vocabulary = {symbol: number for number, symbol in enumerate(known)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def cleaned(text: str) -> str:
    """A text as the tokenizer takes it: plain marks, no HTML entities, single spaces, small letters."""
    plain = unicodedata.normalize("NFC", text).translate(_PLAIN)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(plain))).strip().lower()


def _byte_symbols() -> list[str]:
    """A character that shows for each byte: printable ones first, by themselves, then others from 256 on."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(_BYTES) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(_BYTES + number) for number in range(len(hidden))]
