"""The catalog: entries are written with their defaults; what can't be right is refused with what to do."""

import pytest

from lib.catalog import Archive, add_archive, read_catalog
from lib.errors import CatalogError
from lib.sections import EmbeddingConfig

ENTRY = Archive(
    name="talks", kind="video", root="/videos", embedding=EmbeddingConfig(backbone="efficientnet_lite0")
)


def test_an_added_archive_is_read_back_the_same_with_its_defaults_in_the_file(tmp_path):
    path = tmp_path / "new" / "catalog.toml"
    add_archive(path, ENTRY)
    assert read_catalog(path).archive("talks") == ENTRY
    assert "per_second = 1.0" in path.read_text()


def test_adding_keeps_comments_and_other_entries(tmp_path):
    path = tmp_path / "catalog.toml"
    path.write_text(
        '# mine\n[archives.old]\nkind = "video"\nroot = "/x"\nembedding = { backbone = "a" } # chosen\n'
    )
    add_archive(path, ENTRY)
    assert "# mine" in path.read_text() and "# chosen" in path.read_text()
    assert set(read_catalog(path).archives) == {"old", "talks"}


def test_a_taken_name_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "catalog.toml"
    add_archive(path, ENTRY)
    before = path.read_text()
    with pytest.raises(CatalogError, match="already"):
        add_archive(path, ENTRY)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("name", "near"),
    [("my-talks", "my_talks"), ("Talks 1", "talks_1"), ("9lives", "a_9lives"), ("日本", "archive")],
)
def test_a_bad_name_is_refused_with_the_nearest_good_one(name, near):
    with pytest.raises(CatalogError, match=repr(near)):
        Archive(name=name, kind="video", embedding=EmbeddingConfig(backbone="x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("archives = 3", "only tables"),
        ("[archives.a]\nkind = 'video'\nembedding = {backbone='x'}\nframez = 1", "framez"),
        (
            "[archives.a]\nkind = 'video'\nembedding = {backbone='x'}\n[archives.a.frames]\nper_second = -1",
            "per_second",
        ),
        ("[archives.a]\nkind = 'video'\nembedding = {backbone='x'}\nroots = '/x'", "Did you mean 'root'"),
        (
            "[archives.a]\nkind = 'video'\nembedding = {backbone='x'}\nindex = {kind='nosuch'}",
            "one of auto, exact",
        ),
        ("[archives.a", "no TOML"),
        ("[archives.a-b]\nkind = 'video'", "a_b"),
    ],
)
def test_an_entry_that_cant_be_used_is_named(tmp_path, text, said):
    path = tmp_path / "catalog.toml"
    path.write_text(text)
    with pytest.raises(CatalogError, match=said):
        read_catalog(path)


def test_a_catalog_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="is no file"):
        read_catalog(tmp_path)


def test_an_unknown_archive_is_answered_with_the_nearest(tmp_path):
    path = tmp_path / "catalog.toml"
    add_archive(path, ENTRY)
    with pytest.raises(CatalogError, match="talks"):
        read_catalog(path).archive("talk")
