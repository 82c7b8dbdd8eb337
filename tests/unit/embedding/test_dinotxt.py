"""dino.txt's text tower: a tiny checkpoint in Meta's layout against numpy, byte pairs against the rule."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.embedding import dinotxt
from lib.embedding.specs import DINOV3_LICENCE
from lib.embedding.text import TextEncoder, resolve
from lib.embedding.text_specs import VOCABULARY
from lib.embedding.vectors import unit
from lib.errors import BackboneUnavailableError, UsageError

MERGES = ["c a", "ca t</w>", "t h", "th e</w>", "d o", "do g</w>", "Ã ©</w>", "ca t", "cat s</w>"]
SIZE = 512 + len(MERGES) + 2
# A character for each byte: itself where it prints, else one from 256 on.
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = [byte for byte in range(256) if byte not in PRINTABLE]
SYMBOLS = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(HIDDEN)}
WIDTH, DEPTH, PLACES, DIM = 128, 2, 12, 24


def write_vocabulary(path: Path, merges=MERGES) -> Path:
    # The published list is longer than the vocabulary that is made of it.
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(["#version: 0.2", *merges, "n ever", "taken up", ""]))
    return path


def tensors_as_meta_names_them() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)

    def some(*shape):
        return torch.randn(*shape, generator=generator) * 0.2

    at = "text_model.backbone."
    made = {
        "logit_scale": some(1),
        "visual_model.head.blocks.0.attn.qkv.weight": some(6, 2),
        f"{at}token_embedding.weight": some(SIZE, WIDTH),
        f"{at}positional_embedding": some(PLACES, WIDTH),
        "text_model.head.linear_projection.weight": some(DIM, WIDTH),
    }
    norms = [f"{at}ln_final"]
    for block in range(DEPTH):
        here = f"{at}blocks.{block}."
        norms += [f"{here}attention_norm", f"{here}ffn_norm"]
        made[f"{here}attention.qkv.weight"] = some(3 * WIDTH, WIDTH)
        for name, rows, columns in [
            ("attention.proj", WIDTH, WIDTH),
            ("feed_forward.fc1", 4 * WIDTH, WIDTH),
            ("feed_forward.fc2", WIDTH, 4 * WIDTH),
        ]:
            made |= {f"{here}{name}.weight": some(rows, columns), f"{here}{name}.bias": some(rows)}
    for name in norms:
        made |= {f"{name}.weight": 1 + some(WIDTH), f"{name}.bias": some(WIDTH)}
    return made


def write_checkpoint(folder: Path, **more: torch.Tensor) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "dinov3_vitl16_dinotxt_vision_head_and_text_encoder-00000000.pth"
    torch.save(tensors_as_meta_names_them() | more, file)
    write_vocabulary(folder / VOCABULARY)
    return file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("dinotxt"))


def by_hand(ids: list[int]) -> np.ndarray:
    """The tower in numpy, a token at a time."""
    held = {name: tensor.double().numpy() for name, tensor in tensors_as_meta_names_them().items()}
    at = "text_model.backbone."

    def normed(row, name):
        centred = row - row.mean()
        return centred / np.sqrt((centred**2).mean() + 1e-5) * held[f"{name}.weight"] + held[f"{name}.bias"]

    def linear(row, name):
        return held[f"{name}.weight"] @ row + held[f"{name}.bias"]

    gelu = np.vectorize(lambda value: value * (1 + math.erf(value / math.sqrt(2))) / 2)
    tokens = [
        held[f"{at}token_embedding.weight"][number] + held[f"{at}positional_embedding"][place]
        for place, number in enumerate(ids)
    ]
    for block in range(DEPTH):
        here = f"{at}blocks.{block}."
        split = [
            (held[f"{here}attention.qkv.weight"] @ normed(token, f"{here}attention_norm")).reshape(3, 2, 64)
            for token in tokens
        ]
        for place in range(len(tokens)):
            heads = []
            for head in range(2):
                scores = np.array([split[place][0, head] @ split[n][1, head] / 8 for n in range(place + 1)])
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                heads.append(sum(share * split[n][2, head] for n, share in enumerate(shares)))
            tokens[place] = tokens[place] + linear(np.concatenate(heads), f"{here}attention.proj")
        for place, token in enumerate(tokens):
            inner = gelu(linear(normed(token, f"{here}ffn_norm"), f"{here}feed_forward.fc1"))
            tokens[place] = token + linear(inner, f"{here}feed_forward.fc2")
    return held["text_model.head.linear_projection.weight"] @ normed(tokens[-1], f"{at}ln_final")


def merged_by_the_rule(word: str) -> list[str]:
    """Byte pairs, slowly: the earliest merge of those there are, wherever it stands, until none is."""
    parts = [SYMBOLS[byte] for byte in word.encode()]
    parts[-1] += "</w>"
    while True:
        for merge in MERGES:
            first, second = merge.split()
            places = [n for n in range(len(parts) - 1) if (parts[n], parts[n + 1]) == (first, second)]
            if places:
                parts[places[0] : places[0] + 2] = [first + second]
                break
        else:
            return parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cats' dog's  42 é!", ["the", "cats", "'", "dog", "'s", "4", "2", "é", "!"]),
        ("it’s “the” cat &amp;amp; dog\n", ["it", "'s", '"', "the", '"', "cat", "&", "dog"]),
        ("Cafe\u0301 <|endoftext|>", ["café", "<|", "endoftext", "|>"]),
    ],
)
def test_ids_are_those_of_the_byte_pair_rule(text, words, checkpoint):
    known = [*SYMBOLS.values(), *(f"{symbol}</w>" for symbol in SYMBOLS.values())]
    known += ["".join(merge.split()) for merge in MERGES]
    expected = [known.index(part) for word in words for part in merged_by_the_rule(word)]
    tower = dinotxt.opened(resolve(f"dinotxt:{checkpoint}"), "cpu")
    windows, _ = tower.windows([text])
    inside = [token for window in windows for token in window[1:-1]]
    assert inside == expected
    assert {(window[0], window[-1]) for window in windows} == {(SIZE - 2, SIZE - 1)}


def test_the_tower_answers_as_its_formulas_do(checkpoint):
    encoder = TextEncoder(f"dinotxt:{checkpoint}")
    texts = ["the cat", "the dog cat dog the"]
    tower = dinotxt.opened(encoder.spec, "cpu")
    theirs = unit(np.stack([by_hand(window) for window in tower.windows(texts)[0]]))
    # Together, so that the shorter one has zeros after its end.
    cosines = (unit(encoder.encode(texts)) * theirs).sum(axis=1)
    assert cosines.min() > 0.9999


def test_its_contract_tells_length_and_licence_from_the_files_headers(checkpoint):
    told = resolve(f"dinotxt:{checkpoint}")
    assert (told.contract.dim, told.contract.max_tokens, told.licence) == (DIM, PLACES, DINOV3_LICENCE)
    assert told.contract.id.startswith(f"dinov3_dinotxt-{PLACES}-")


def test_ten_thousand_words_are_read_in_windows(checkpoint):
    assert TextEncoder(f"dinotxt:{checkpoint}").encode(["cat " * 10_000]).any()


def test_a_vocabulary_elsewhere_is_named_and_counts(checkpoint, tmp_path):
    other = write_vocabulary(tmp_path / "other.gz", [*reversed(MERGES[:2]), *MERGES[2:]])
    told = resolve(f"dinotxt:{checkpoint},vocab={other}")
    assert told.vocabulary == other
    assert told.contract.id != resolve(f"dinotxt:{checkpoint}").contract.id


def test_a_layer_that_the_tower_lacks_is_refused(tmp_path):
    more = {"text_model.backbone.blocks.0.ls1.gamma": torch.ones(WIDTH)}
    file = write_checkpoint(tmp_path, **more)
    with pytest.raises(BackboneUnavailableError, match=r"isn't built as dino\.txt's.*ls1\.gamma"):
        TextEncoder(f"dinotxt:{file}")


class Harmful:
    def __reduce__(self):
        return (print, ("this ran",))


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path, capsys):
    file = write_checkpoint(tmp_path, harm=Harmful())
    with pytest.raises(BackboneUnavailableError, match="could run code"):
        TextEncoder(f"dinotxt:{file}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.unlink(), "there is no file"),
        (lambda file: torch.save({"cls_token": torch.ones(2)}, file), "it is no dino.txt"),
        (lambda file: file.with_name(VOCABULARY).unlink(), "there is no vocabulary"),
        (lambda file: file.with_name(VOCABULARY).write_text("c a\n"), "can't be read"),
        (lambda file: write_vocabulary(file.with_name(VOCABULARY), MERGES[:2]), "9 merges"),
    ],
)
def test_files_that_cannot_be_used_are_one_sentence(spoil, says, tmp_path):
    file = write_checkpoint(tmp_path)
    spoil(file)
    with pytest.raises(BackboneUnavailableError, match=says):
        TextEncoder(f"dinotxt:{file}")


def test_an_unknown_option_is_wrong_usage(checkpoint):
    with pytest.raises(UsageError, match="vocab=FILE"):
        resolve(f"dinotxt:{checkpoint},speed=9")
