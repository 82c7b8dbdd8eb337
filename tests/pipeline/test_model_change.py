"""A change of model, as an operator makes it: the old index answers until the new one may, and back again."""

import pytest
from factories import make_picture
from place import Place, make_videos

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """`talks`: two made videos under the packaged backbone at 224 px, run to its reports."""
    made = Place(tmp_path_factory.mktemp("change"))
    make_videos(made.videos, 2, seconds=2.0)
    make_picture(made.folder / "picture.png")
    made.add()
    made.run()
    return made


def search(place: Place, *how: str) -> tuple[dict, str]:
    import json

    done = place.call("search", "talks", *(how or ("--image", str(place.folder / "picture.png"))), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def serving(place: Place) -> str:
    (now,) = [row for row in place.json("switch", "talks")["contracts"] if row["is_serving"]]
    return str(now["contract"])


def test_the_old_model_answers_until_the_new_one_is_made_and_then_the_new_one_and_back(place):
    before, told = search(place)
    assert before["contract"] == serving(place) and "answers" not in told

    place.edit("size_px = 224", "size_px = 160")
    meanwhile, told = search(place)
    assert meanwhile == before
    assert before["contract"] in told and "dinolake run talks" in told

    place.run("frame_embeddings")
    assert search(place)[0] == before

    stages = place.run()
    assert stages["frames"]["made"] == 0
    after, told = search(place)
    assert after["contract"] == serving(place) != before["contract"]
    assert len(after["hits"]) == len(before["hits"]) and "answers" not in told

    rows = place.json("switch", "talks", "--back")["contracts"]
    assert [row["contract"] for row in rows if row["is_serving"]] == [before["contract"]]
    assert search(place)[0] == before
    place.run()
    assert search(place)[0] == before, "a run undid the operator's way back"

    place.json("switch", "talks", "--to", after["contract"])
    assert search(place)[0] == after


def test_a_new_model_whose_index_finds_too_little_never_answers(place):
    before, _ = search(place)
    place.edit("size_px = 160", "size_px = 192")
    place.edit("min_recall = 0.98", "min_recall = 1.0")
    path = place.folder / "catalog.toml"
    assert "min_recall = 1.0" in path.read_text()
    from lib.catalog import read_catalog
    from lib.lake import Lake
    from lib.serving import fault_of, publish
    from lib.stages.making import Work

    place.run("clips")
    work = Work(Lake(place.lake), read_catalog(path).archive("talks"))
    assert fault_of(work) == "it has no index"
    assert not publish(work)
    assert search(place)[0] == before
