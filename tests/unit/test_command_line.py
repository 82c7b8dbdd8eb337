"""What the command line does before and after the work: refuses outputs, shows names, lists what is there."""

import os

import pytest
from factories import make_video
from PIL import Image

from lib.catalog import Archive, add_archive
from lib.errors import UsageError
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from orchestration.embedding import embed_paths
from orchestration.listing import list_archives
from orchestration.searching import Request, answer
from orchestration.terminal import show_table

LITE = "efficientnet_lite0"


def archive(name, *, backbone=LITE, root="/videos"):
    return Archive(name=name, kind="video", root=str(root), embedding=EmbeddingConfig(backbone=backbone))


def embed(*paths, out):
    return embed_paths(list(paths), out, backbone=LITE, per_second=1.0, size_px=224, say=lambda line: None)


@pytest.mark.parametrize("through", ["itself", "its folder", "a link to it", "search"])
def test_no_output_overwrites_an_input(tmp_path, through):
    picture = tmp_path / "pictures" / "cat.jpg"
    picture.parent.mkdir()
    Image.new("RGB", (32, 32), "red").save(picture)
    before, link = picture.read_bytes(), tmp_path / "link.jpg"
    link.symlink_to(picture)
    with pytest.raises(UsageError, match="would overwrite"):
        if through == "search":
            answer(archive("talks"), Lake(tmp_path), Request(picture, None, None, 5), sheet=picture)
        else:
            given = picture.parent if through == "its folder" else picture
            embed(given, out=link if through == "a link to it" else picture)
    assert picture.read_bytes() == before


def test_a_table_in_a_pipe_holds_names_whole_and_as_they_are(capsys):
    path = "/videos/" + "long/" * 40 + "a.mp4"
    show_table(["item", "path"], [("a_b[x]{y}*:dog:", path), ("two\nlines", "b")])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["item", "path"], ["a_b[x]{y}*:dog:", path], [r"two\nlines", "b"],
    ]  # fmt: skip


def test_a_file_whose_name_is_no_utf8_is_refused_and_the_others_are_embedded(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    make_video(folder / "good.mp4", seconds=2)
    strange = os.fsdecode(os.fsencode(folder) + b"/bad\xff.mp4")
    os.link(folder / "good.mp4", strange)
    made = embed(folder, out=tmp_path / "vectors.parquet")
    assert (made.vectors, made.files, list(made.refused)) == (2, 1, [strange])
    assert (tmp_path / "vectors.parquet").is_file()


def test_an_archive_whose_backbone_cant_be_had_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("DINOLAKE_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("DINOLAKE_CATALOG", str(tmp_path / "catalog.toml"))
    for entry in (archive("bad", backbone="timm:nosuch", root=tmp_path), archive("good", root=tmp_path)):
        add_archive(tmp_path / "catalog.toml", entry)
    states = {row["archive"]: row["state"] for row in list_archives()}
    assert states["good"] == "nothing made yet"
    assert states["bad"].startswith("its backbone can't be had: 'nosuch'")
