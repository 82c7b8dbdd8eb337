"""The table of pairs: every row is told, those that won't do with their reason."""

import pytest

from lib.errors import CatalogError
from lib.sections import PairsConfig, SideConfig
from lib.stages.pair_table import _checked, _read_csv


def read(path, text, **columns):
    path.write_text(text, encoding="utf-8")
    sides = {side: SideConfig(kind="picture", column=columns.pop(side, "")) for side in ("left", "right")}
    return list(_checked(_read_csv(path, PairsConfig(**sides, columns=columns))))


def test_rows_have_ids_that_stay_when_others_come_before(tmp_path):
    first = read(tmp_path / "a.csv", "left,right\na.jpg,b.jpg\nc.jpg,d.jpg\n")
    later = read(tmp_path / "a.csv", "left,right\nx.jpg,y.jpg\na.jpg,b.jpg\nc.jpg,d.jpg\n")
    assert [told.row.id for told in first] == [told.row.id for told in later[1:]]
    assert len({told.row.id for told in later}) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.jpg,", "a left without any right"),
        ("same.jpg,same.jpg", "same file"),
        ("a.jpg,b.jpg\na.jpg,b.jpg", "stands in line 2 already"),
    ],
)
def test_a_row_that_will_not_do_carries_its_reason(tmp_path, line, reason):
    told = read(tmp_path / "a.csv", f"left,right\n{line}\n")[-1]
    assert reason in told.reason


def test_a_second_row_of_one_id_is_refused_under_a_name_of_its_own(tmp_path):
    told = read(tmp_path / "a.csv", "id,left,right\np,a.jpg,b.jpg\np,c.jpg,d.jpg\n")
    assert [(t.row.id, bool(t.reason)) for t in told] == [("p", False), ("p~3", True)]
    assert "'p' stands in line 2" in told[1].reason


def test_columns_may_be_called_otherwise_and_semicolons_part_them(tmp_path):
    told = read(
        tmp_path / "a.csv", "street;sat;where\na.jpg;b.jpg;oslo\n", left="street", right="sat", group="where"
    )
    assert (told[0].row.left, told[0].row.right, told[0].row.group) == ("a.jpg", "b.jpg", "oslo")


def test_missing_columns_are_named_with_those_that_are_there(tmp_path):
    with pytest.raises(CatalogError, match=r"no column 'right'; it has left, rihgt.*--map"):
        read(tmp_path / "a.csv", "left,rihgt\na.jpg,b.jpg\n")


def test_an_unknown_split_is_a_reason_and_bad_degrees_cost_the_place_alone(tmp_path):
    told = read(
        tmp_path / "a.csv", "left,right,split,lon,lat\na.jpg,b.jpg,holdout,,\nc.jpg,d.jpg,train,10,95\n"
    )
    assert "'holdout' is none of train, val, test" in told[0].reason
    assert (told[1].reason, told[1].row.lon, told[1].row.lat) == ("", None, None)
    assert "'10', '95' are no longitude and latitude" in told[1].note


def test_a_caption_with_commas_and_no_quotes_is_refused_and_not_cut(tmp_path):
    told = read(tmp_path / "a.csv", 'left,right\na.jpg,A house, a tree\nb.jpg,"A house, a tree"\n')
    assert "put a cell that holds commas in quotes" in told[0].reason
    assert (told[1].reason, told[1].row.right) == ("", "A house, a tree")


def test_a_row_is_where_it_begins_though_cells_span_lines(tmp_path):
    told = read(tmp_path / "a.csv", 'left,right\na.jpg,"one\ntwo\nthree"\nb.jpg,\n')
    assert [t.line for t in told] == [2, 5]
