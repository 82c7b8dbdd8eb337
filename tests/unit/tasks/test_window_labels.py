"""Labels of windows, each rule by a case worked out by hand."""

import numpy as np
import pytest
from shapely.geometry import LineString, MultiPoint, Point, box

from lib.errors import QueryError
from lib.media.vectorfiles import Shapes
from lib.tasks.window_labels import labels_of_windows

# Two neighbours that overlap by a fifth, and one apart.
WINDOWS = np.array([box(0, 0, 1, 1), box(0.8, 0, 1.8, 1), box(5, 5, 6, 6)], object)


def told(*shapes, windows=WINDOWS):
    made = np.empty(len(shapes), object)
    made[:] = [shape for shape, _ in shapes]
    return labels_of_windows(
        Shapes(made, {"kind": np.array([name for _, name in shapes], object)}, 0), "kind", windows
    )


def test_an_area_labels_the_windows_that_it_covers_by_half():
    made = told((box(-1, -1, 1.25, 2), "wood"), (box(5, 5, 5.45, 7), "lake"), (box(0, 0, 3, 3), "ignored"))
    assert made.labels[0] is None and made.tied == 1  # wood and ignored both cover all of it
    made = told((box(-1, -1, 1.25, 2), "wood"), (box(5, 5, 5.45, 9), "lake"))
    assert made.labels == ["wood", None, None] and (made.tied, made.unused) == (0, 1)


def test_of_two_classes_the_one_that_covers_more_wins():
    assert told((box(0, 0, 1, 0.6), "town"), (box(0, 0, 1, 0.7), "park")).labels[0] == "park"


def test_fields_of_one_class_count_together_and_their_overlap_once():
    assert told((box(0, 0, 0.8, 0.3), "rye"), (box(0, 0.3, 0.8, 0.7), "rye")).labels[0] == "rye"
    assert told((box(-5, 0, 0.4, 1), "rye"), (box(-5, 0, 0.3, 1), "rye")).labels[0] is None


def test_a_point_labels_the_window_whose_centre_is_nearest():
    made = told((Point(0.85, 0.5), "a"), (Point(0.95, 0.5), "b"), (Point(9, 9), "c"))
    assert made.labels == ["a", "b", None] and made.unused == 1


def test_a_small_area_counts_as_a_point_does():
    assert told((box(5.1, 5.1, 5.2, 5.2), "pond")).labels == [None, None, "pond"]


def test_points_are_counted_and_areas_outweigh_them():
    inside = MultiPoint([(0.1, 0.1), (0.2, 0.2)])
    assert told((inside, "a"), (Point(0.3, 0.3), "b")).labels[0] == "a"
    assert told((inside, "a"), (box(0, 0, 1, 1), "b")).labels[0] == "b"
    tie = told((Point(0.1, 0.1), "a"), (Point(0.3, 0.3), "b"))
    assert tie.labels[0] is None and tie.tied == 1


def test_windows_of_one_place_get_the_same_label_on_all_dates():
    assert told((Point(0.2, 0.2), "a"), windows=WINDOWS[[0, 1, 0]]).labels == ["a", None, "a"]


def test_lines_and_shapes_without_a_class_label_nothing_and_are_counted():
    made = told((LineString([(0, 0), (1, 1)]), "road"), (box(0, 0, 1, 1), None), (Point(5.5, 5.5), 3.0))
    assert made.labels == [None, None, "3"] and (made.unused, made.without_class) == (1, 1)


def test_a_missing_column_is_told_with_those_that_there_are():
    shapes = Shapes(np.array([Point(0, 0)], object), {"name": np.array(["x"], object)}, 0)
    with pytest.raises(QueryError, match=r"'kind'.*columns are name"):
        labels_of_windows(shapes, "kind", WINDOWS)
