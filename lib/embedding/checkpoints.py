"""Weight files: hash, tensors, and without torch their shapes; Meta's and Hugging Face's names become timm's.

Nothing here runs code that a file brings: safetensors hold none, and of a pickle only tensors are read.
"""

import contextlib
import hashlib
import json
import os
import pickle
import re
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lib.embedding.architectures import Shape
from lib.errors import BackboneUnavailableError

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")


def cache_folder() -> Path:
    """Where hashes and converted models are kept between processes: `dinolake` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dinolake"


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as out:
        out.write(text)
    Path(out.name).replace(path)


def sha256_of(paths: Iterable[Path]) -> str:
    """Hash of a weight file's bytes; of several (shards), the hash of their hashes in the order given.

    Kept by path, size and time of change, so that gigabytes are read once and not in every process.
    """
    kept_at = cache_folder() / "sha256.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # a cache that can't be read is made again
        known = json.loads(kept_at.read_text())
    hashes, fresh = [], {}
    for path in paths:
        facts = path.stat()
        mark = f"{facts.st_size} {facts.st_mtime_ns}"
        kept = known.get(str(path.absolute()))
        if not isinstance(kept, list) or kept[0] != mark:
            with path.open("rb") as file:
                kept = [mark, hashlib.file_digest(file, "sha256").hexdigest()]
            fresh[str(path.absolute())] = kept
        hashes.append(str(kept[1]))
    if fresh:
        with contextlib.suppress(OSError):  # one that can't be written costs time and nothing else
            write_whole(kept_at, json.dumps(known | fresh))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def shapes_of(paths: Iterable[Path]) -> dict[str, Shape]:
    """Shape of every tensor in the weight files, read without torch.

    Raises:
        BackboneUnavailableError: A file is no such file, is cut short, or holds more than tensors.
    """
    shapes: dict[str, Shape] = {}
    for path in paths:
        shapes |= _safetensors_shapes(path) if path.suffix == ".safetensors" else _pickle_shapes(path)
    return shapes


def tensors_of(paths: Iterable[Path]) -> dict[str, "torch.Tensor"]:
    """Every tensor in the weight files, as float32 on the CPU.

    Raises:
        BackboneUnavailableError: A file is no such file, is cut short, or holds more than tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                tensors |= load_file(path)
            else:
                if zipfile.is_zipfile(path):
                    _pickle_shapes(path)  # refuses what is more than tensors, in clearer words than torch's
                tensors |= torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
            raise _unreadable(path, error) from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


def _safetensors_shapes(path: Path) -> dict[str, Shape]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _pickle_shapes(path: Path) -> dict[str, Shape]:
    try:
        with zipfile.ZipFile(path) as archive:
            (inner,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(inner) as file:
                held = _ShapeReader(file).load()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(held, dict) or not all(isinstance(value, tuple) for value in held.values()):
        raise BackboneUnavailableError(
            f"{path} holds more than a backbone's tensors (a whole training's?): give the backbone's own file"
        )
    return held


class _ShapeReader(pickle.Unpickler):
    """Reads names and shapes. Whatever else the pickle names is refused, so no code of a file runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, *rest: tuple(size)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda shape, *rest: shape
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(
            f"it names {module}.{name}, which no tensor needs; such a file could run code"
        )

    def persistent_load(self, pid: Any) -> None:
        return None


def _unreadable(path: Path, error: Exception) -> BackboneUnavailableError:
    size = path.stat().st_size if path.is_file() else 0
    # Only the first sentence: torch's second one advises to switch its safety off.
    told = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".") or type(error).__name__
    return BackboneUnavailableError(
        f"the weights in {path} ({size:,} bytes) can't be read: {told}. "
        "Wanted are safetensors, or a .pth with tensors only as torch.save(model.state_dict()) writes it; "
        "if it should be one, it is cut short or damaged: fetch it again"
    )


# Meta's names (facebookresearch/dinov3, models/vision_transformer.py and convnext.py) and, below, Hugging
# Face's (transformers, models/dinov3_vit and dinov3_convnext): a pattern and timm's counterpart. None is left
# out: training's leftovers, and fixed tables. Meta's stored RoPE periods were rounded to bfloat16; timm and
# transformers compute them exactly, and so do we: thus the three agree.
_Rules = tuple[tuple[str, str | None], ...]
_META: _Rules = (
    (r"mask_token|rope_embed\..*|local_cls_norm\..*|.*\.bias_mask|norms\..*", None),
    (r"storage_tokens", "reg_token"),
    (r"(blocks\.\d+)\.ls([12])\.gamma", r"\1.gamma_\2"),
    (r"(blocks\.\d+\.mlp)\.w1\.(.*)", r"\1.fc1_g.\2"),
    (r"(blocks\.\d+\.mlp)\.w2\.(.*)", r"\1.fc1_x.\2"),
    (r"(blocks\.\d+\.mlp)\.w3\.(.*)", r"\1.fc2.\2"),
    (r"downsample_layers\.0\.(.*)", r"stem.\1"),
    (r"downsample_layers\.(\d)\.(.*)", r"stages.\1.downsample.\2"),
    (r"(stages\.\d)\.(\d+)\.dwconv\.(.*)", r"\1.blocks.\2.conv_dw.\3"),
    (r"(stages\.\d)\.(\d+)\.pwconv([12])\.(.*)", r"\1.blocks.\2.mlp.fc\3.\4"),
    (r"(stages\.\d)\.(\d+)\.(.*)", r"\1.blocks.\2.\3"),
)
_HF: _Rules = (
    (r"embeddings\.mask_token|rope_embeddings\..*", None),
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.patch_embeddings\.(.*)", r"patch_embed.proj.\1"),
    (r"layer\.(\d+)\.attention\.o_proj\.(.*)", r"blocks.\1.attn.proj.\2"),
    (r"layer\.(\d+)\.attention\.([qkv])_proj\.bias", r"blocks.\1.attn.\2_bias"),
    (r"layer\.(\d+)\.attention\.([qkv]_proj\.weight)", r"blocks.\1.attn.\2"),
    (r"layer\.(\d+)\.layer_scale([12])\.lambda1", r"blocks.\1.gamma_\2"),
    (r"layer\.(\d+)\.mlp\.gate_proj\.(.*)", r"blocks.\1.mlp.fc1_g.\2"),
    (r"layer\.(\d+)\.mlp\.up_proj\.(.*)", r"blocks.\1.mlp.fc1.\2"),
    (r"layer\.(\d+)\.mlp\.down_proj\.(.*)", r"blocks.\1.mlp.fc2.\2"),
    (r"layer\.(\d+)\.(.*)", r"blocks.\1.\2"),
    (r"stages\.0\.downsample_layers\.(.*)", r"stem.\1"),
    (r"stages\.(\d)\.downsample_layers\.(.*)", r"stages.\1.downsample.\2"),
    (r"(stages\.\d)\.layers\.(\d+)\.depthwise_conv\.(.*)", r"\1.blocks.\2.conv_dw.\3"),
    (r"(stages\.\d)\.layers\.(\d+)\.layer_norm\.(.*)", r"\1.blocks.\2.norm.\3"),
    (r"(stages\.\d)\.layers\.(\d+)\.pointwise_conv([12])\.(.*)", r"\1.blocks.\2.mlp.fc\3.\4"),
    (r"(stages\.\d)\.layers\.(\d+)\.gamma", r"\1.blocks.\2.gamma"),
    (r"layer_norm\.(.*)", r"norm.\1"),
)


def with_timm_names(
    values: Mapping[str, Value], form: str, *, join: Callable[[list[Value]], Value]
) -> dict[str, Value]:
    """Tensors, or their shapes, under timm's names.

    Args:
        values: By the names of `form`.
        form: `meta`, `hf` or `timm`.
        join: Puts tensors (or shapes) one after another along the first axis.
    """
    if form == "timm":
        return dict(values)
    renamed: dict[str, Value] = {}
    for name, value in values.items():
        # transformers ≥ 5 writes `model.layer.…` where the published repositories have `layer.…`.
        new = _renamed(
            name.removeprefix("model.") if form == "hf" else name, _META if form == "meta" else _HF
        )
        if new is not None:
            renamed[new] = value
    is_convnext = "stem.0.weight" in renamed
    for name in list(renamed):
        if name.endswith(".attn.q_proj.weight"):
            parts = [name.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
            if missing := [part for part in parts if part not in renamed]:
                raise BackboneUnavailableError(
                    f"{missing[0]} is missing: the weights are not whole, fetch them again"
                )
            renamed[name.replace("q_proj", "qkv")] = join([renamed.pop(part) for part in parts])
        elif name.endswith(("mlp.fc1.weight", "mlp.fc1.bias")) and name.replace("fc1", "fc1_g") in renamed:
            renamed[name.replace("fc1", "fc1_x")] = renamed.pop(name)
        elif is_convnext and name.startswith("norm."):
            renamed[f"head.{name}"] = renamed.pop(name)
    return renamed


def _renamed(name: str, rules: _Rules) -> str | None:
    for pattern, new in rules:
        if found := re.fullmatch(pattern, name):
            return None if new is None else found.expand(new)
    return name


def without_key_biases(
    tensors: dict[str, "torch.Tensor"], original: Mapping[str, "torch.Tensor"]
) -> tuple[dict[str, "torch.Tensor"], bool]:
    """Attention biases as timm has them: none for keys; none at all, and False, when all are zero.

    Meta keeps one bias for queries, keys and values, and a mask (`qkv.bias_mask`) that blanks the keys' part.

    Raises:
        BackboneUnavailableError: The keys have a bias that counts: that is no DINOv3.
    """
    kept = dict(tensors)
    for name in [name for name in kept if name.endswith(".attn.qkv.bias")]:
        parts = kept.pop(name).chunk(3)
        masked = original.get(f"{name}_mask") is not None
        for letter, part in zip("qkv", parts, strict=True):
            kept[name.replace("qkv.bias", f"{letter}_bias")] = part * 0 if masked and letter == "k" else part
    for name in [name for name in kept if name.endswith(".attn.k_bias")]:
        if kept.pop(name).any():
            raise BackboneUnavailableError(
                f"{name} is not zero, and DINOv3's keys have no bias: is it another model?"
            )
    biases = [name for name in kept if name.endswith((".attn.q_bias", ".attn.v_bias"))]
    counts = any(bool(kept[name].any()) for name in biases)
    return (kept, True) if counts else ({k: v for k, v in kept.items() if k not in set(biases)}, False)
