"""The pair line on made pairs: what new pairs and other settings make again, and what comes out."""

import json

import numpy as np
import pytest
from pairs import make_line, pair_archive, rows_of, write_table, write_views
from scenes import renewed

from lib.catalog import Archive
from lib.errors import AlignerError
from lib.lake import Lake
from lib.plan import plan_archive
from lib.search.pairs import PairSearcher
from lib.stages.making import Work
from lib.stages.shared_embeddings import make_shared_embeddings
from lib.stages.verify import aligner_faults, index_faults

PLACES = 40


def row(folder, place, split):
    left, right = write_views(folder, place)
    return {"left": left, "right": right, "split": split, "lon": f"{10 + place / 100}", "lat": "50"}


COLUMNS = ("left", "right", "split", "lon", "lat")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Forty places in two views, half of them held back, and five right sides without a left."""
    folder = tmp_path_factory.mktemp("towns")
    rows = [row(folder, place, "train" if place < PLACES // 2 else "test") for place in range(PLACES)]
    lone = [row(folder, place, "") | {"left": ""} for place in range(900, 905)]
    archive = pair_archive(write_table(folder / "pairs.csv", [*rows, *lone], COLUMNS))
    lake = Lake(folder / "lake")
    return lake, archive, make_line(lake, archive), rows


def report_of(lake, archive):
    path = lake.folder(archive.name, "retrieval_report") / "report.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_one_side_finds_the_other_far_more_often_than_chance_and_the_gallery_is_larger_than_the_pairs(built):
    lake, archive, _, _ = built
    figures = {(m["task"], m["metric"]): m for m in report_of(lake, archive)["metrics"]}
    there, back = figures["left → right", "R@1"], figures["right → left", "R@1"]
    assert there["chance"] == pytest.approx(1 / (PLACES // 2 + 5))
    assert back["chance"] == pytest.approx(1 / (PLACES // 2))
    assert there["ours"] > 8 * there["chance"]
    assert there["n"] == back["n"] == PLACES // 2


def test_a_second_run_makes_nothing(built):
    lake, archive, _, _ = built
    again = make_line(lake, archive)
    assert not {stage for stage in again if renewed(again, stage)}
    assert not {name for name, plan in plan_archive(Work(lake, archive)).items() if plan.due}


def test_a_stored_pair_is_found_from_either_side_with_its_place(built):
    lake, archive, _, rows = built
    searcher = PairSearcher(Work(lake, archive))
    items = {r["left"]: r["item"] for r in rows_of(lake, archive, "items")}
    found = 0
    for told in rows[: PLACES // 2]:
        query = searcher.of_item(items[told["left"]], "left")
        hits = searcher.search(query, to="right", k=3)
        assert {hit.side for hit in hits} == {"right"}
        found += hits[0].item == items[told["left"]] and hits[0].lon == float(told["lon"])
    # Trained on, so most of them are right.
    assert found > PLACES // 4


def test_the_index_holds_both_sides_and_the_check_finds_nothing_wrong(built):
    from lib.stages.gallery_index import SIDES_INDEXED

    lake, archive, _, _ = built
    work = Work(lake, archive)
    faults, told = index_faults(work, SIDES_INDEXED)
    assert not faults
    assert told["sides"] == 2 * PLACES + 5
    assert aligner_faults(work)[:2] == ("", "")


def test_ten_new_pairs_embed_ten_and_move_no_head_and_other_settings_embed_none(tmp_path):
    rows = [row(tmp_path, place, "train" if place < 12 else "test") for place in range(20)]
    table = write_table(tmp_path / "pairs.csv", rows, COLUMNS)
    archive, lake = pair_archive(table), Lake(tmp_path / "lake")
    make_line(lake, archive)
    write_table(table, rows + [row(tmp_path, place, "train") for place in range(50, 60)], COLUMNS)
    more = make_line(lake, archive)
    for side in ("left", "right"):
        facts = more[f"{side}_embeddings"].values()
        assert (sum(f.made for f in facts), sum(f.kept for f in facts)) == (10, 20)
    assert not renewed(more, "aligner")
    other = Archive(**archive.model_dump() | {"aligner": archive.aligner.model_copy(update={"seed": 7})})
    again = make_line(lake, other)
    assert renewed(again, "aligner")
    assert not renewed(again, "left_embeddings") | renewed(again, "right_embeddings")


def test_no_figure_is_of_pairs_that_were_trained_on_whatever_the_table_says_later(tmp_path):
    rows = [row(tmp_path, place, "train" if place < 8 else "test") for place in range(12)]
    table = write_table(tmp_path / "pairs.csv", rows, COLUMNS)
    archive, lake = pair_archive(table), Lake(tmp_path / "lake")
    make_line(lake, archive)
    swapped = [told | {"split": "test" if at < 4 or at >= 8 else "train"} for at, told in enumerate(rows)]
    write_table(table, swapped, COLUMNS)
    assert not renewed(make_line(lake, archive), "aligner")
    told = report_of(lake, archive)
    assert {m["n"] for m in told["metrics"]} == {4}
    assert "4 pairs held back now were trained on" in " ".join(told["warnings"])


def test_a_renamed_picture_stays_on_its_side_of_the_split(tmp_path):
    from lib.stages.sources import register

    rows = [{name: told for name, told in row(tmp_path, n, "").items() if name != "split"} for n in range(12)]
    table = write_table(tmp_path / "pairs.csv", rows, ("left", "right", "lon", "lat"))
    archive, lake = pair_archive(table, test_share=0.5), Lake(tmp_path / "lake")
    register(archive, lake)
    before = {i.content_hash: i.split for i in lake.ledger.items("towns")}
    for told in rows:
        (tmp_path / told["left"]).rename(tmp_path / f"new_{told['left']}")
        told["left"] = f"new_{told['left']}"
    write_table(table, rows, ("left", "right", "lon", "lat"))
    register(archive, lake)
    after = {i.content_hash: i.split for i in lake.ledger.items("towns") if not i.removed}
    assert after == before
    assert set(before.values()) == {"train", "test"}


def test_a_pairs_new_place_and_its_pictures_new_name_are_seen_by_the_next_run_and_embed_nothing(tmp_path):
    columns = ("id", *COLUMNS)
    rows = [row(tmp_path, place, "train") | {"id": f"p{place}"} for place in range(8)]
    table = write_table(tmp_path / "pairs.csv", rows, columns)
    archive, lake = pair_archive(table), Lake(tmp_path / "lake")
    make_line(lake, archive)
    (tmp_path / rows[3]["right"]).rename(tmp_path / "moved.png")
    rows[3] |= {"lon": "-70", "right": "moved.png"}
    write_table(table, rows, columns)
    again = make_line(lake, archive)
    assert not {stage for stage in again if renewed(again, stage)}
    searcher = PairSearcher(Work(lake, archive))
    (hit,) = searcher.search(searcher.of_item("p0", "left"), to="right", k=8, where="lon < 0")
    assert (hit.item, hit.path) == ("p3", str(tmp_path / "moved.png"))


def test_damaged_heads_are_due_again_and_made_again(tmp_path):
    rows = [row(tmp_path, place, "train") for place in range(8)]
    archive = pair_archive(write_table(tmp_path / "pairs.csv", rows, COLUMNS))
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    (heads,) = lake.folder(archive.name, "aligner").rglob("whitened/aligner.safetensors")
    work = Work(lake, archive)
    chosen = next(work.lake.folder(archive.name, "aligner").rglob("rungs.json"))
    chosen = chosen.parent / json.loads(chosen.read_text())["chosen"] / heads.name
    chosen.write_bytes(chosen.read_bytes()[:100])
    assert plan_archive(Work(lake, archive))["aligner"].why == {"file damaged": 1}
    assert renewed(make_line(lake, archive), "aligner")
    assert not plan_archive(Work(lake, archive))["aligner"].due


def test_a_pair_whose_row_is_gone_is_out_of_the_answers_at_once(tmp_path):
    from lib.stages.sources import register

    rows = [row(tmp_path, place, "train") for place in range(8)]
    table = write_table(tmp_path / "pairs.csv", rows, COLUMNS)
    archive, lake = pair_archive(table), Lake(tmp_path / "lake")
    make_line(lake, archive)
    gone = rows_of(lake, archive, "items")[3]["item"]
    write_table(table, rows[:3] + rows[4:], COLUMNS)
    register(archive, lake)
    searcher = PairSearcher(Work(lake, archive))
    query = searcher.of_item(rows_of(lake, archive, "items")[0]["item"], "left")
    assert gone not in {hit.item for hit in searcher.search(query, to="right", k=8)}


def test_heads_that_map_everything_to_one_point_are_not_published(tmp_path, monkeypatch):
    from lib.alignment import ladder

    rows = [row(tmp_path, place, "train") for place in range(8)]
    archive = pair_archive(write_table(tmp_path / "pairs.csv", rows, COLUMNS))
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive, until="embeddings")
    fit = ladder.fit_ladder

    def collapsed(pairs, config, **told):
        same = np.ones_like(pairs.left), np.ones_like(pairs.right)
        from dataclasses import replace

        return fit(replace(pairs, left=same[0], right=same[1]), config, **told)

    monkeypatch.setattr(ladder, "fit_ladder", collapsed)
    from lib.stages.aligner import make_aligner

    make_aligner(Work(lake, archive))
    work = Work(lake, archive)
    assert aligner_faults(work)[0]
    with pytest.raises(AlignerError, match="isn't published"):
        make_shared_embeddings(work, work.prints.shards[0])


def test_too_few_pairs_to_train_on_are_said_in_a_sentence(tmp_path):
    rows = [row(tmp_path, 0, "train"), row(tmp_path, 1, "test")]
    archive = pair_archive(write_table(tmp_path / "pairs.csv", rows, COLUMNS))
    with pytest.raises(AlignerError, match="too few pairs to train on: 1"):
        make_line(Lake(tmp_path / "lake"), archive)
