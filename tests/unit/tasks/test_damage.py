"""Buildings' damage: scores against a slow reference, classes by hand, footprints burnt onto a grid."""

import numpy as np
import pytest

from lib.errors import QueryError
from lib.tasks.change import as_score
from lib.tasks.damage import CLASSES, building_scores, damage_levels, judge_buildings


def test_a_buildings_score_is_the_quantile_of_its_judged_pixels():
    rng = np.random.default_rng(0)
    labels, score = rng.integers(0, 8, (40, 50)), rng.random((40, 50)).astype(np.float32)
    score[rng.random(score.shape) < 0.2] = np.nan
    score[labels == 3] = np.nan
    made = building_scores(score, labels, 8)
    for number in range(8):
        values = score[labels == number + 1]
        values = values[np.isfinite(values)]
        wanted = np.quantile(values, 0.9, method="lower") if values.size else np.nan
        assert made[number] == pytest.approx(wanted, nan_ok=True)
    assert np.isnan(made[[2, 7]]).all()  # all unjudged; not on the map


def test_a_building_judged_by_less_than_half_is_not_judged():
    labels = np.ones((1, 10), int)
    score = np.full((1, 10), 0.9, np.float32)
    score[0, :5] = np.nan
    assert building_scores(score, labels, 1)[0] == np.float32(0.9)
    score[0, 5] = np.nan
    assert np.isnan(building_scores(score, labels, 1)[0])


def test_classes_are_cut_at_the_gate_the_threshold_and_half_as_far_again():
    gate, threshold, severe = (float(as_score(np.array(d))) for d in (0.4, 0.8, 1.2))
    levels = damage_levels(gate, threshold)
    assert levels == pytest.approx((gate, threshold, severe))
    values = [gate - 0.01, gate + 0.01, threshold + 0.01, severe + 0.01, np.nan]
    labels = np.arange(1, 6)[None]
    made = judge_buildings(
        np.array([values], np.float32), labels, [10, 20, 30, 40, 50], gate=gate, threshold=threshold
    )
    assert made.classes == [*CLASSES, "unjudged"]
    assert made.counts == dict.fromkeys((*CLASSES, "unjudged"), 1)
    assert made.areas_m2 == dict(zip((*CLASSES, "unjudged"), (10, 20, 30, 40, 50), strict=True))


def test_a_pair_without_change_has_no_damage():
    made = judge_buildings(np.full((4, 4), 0.2), np.ones((4, 4), int), [16.0], gate=0.3, threshold=1.0)
    assert made.classes == ["no-damage"]


def test_footprints_take_their_pixels_and_a_shed_on_a_hall_keeps_its_own():
    import geopandas
    import rasterio
    import shapely
    from rasterio.crs import CRS

    from lib.media.footprints import footprints_on
    from lib.media.raster import Grid

    grid = Grid(CRS.from_epsg(32633), rasterio.Affine(1, 0, 500_000, 0, -1, 5_400_100), 100, 120)
    hall = shapely.box(500_010.1, 5_400_020.1, 500_050 - 0.1, 5_400_060 - 0.1)
    shed, far = shapely.box(500_020.2, 5_400_030.2, 500_020.6, 5_400_030.6), shapely.box(0, 0, 5, 5)
    placed = geopandas.GeoSeries([shed, hall, far], crs=32633).to_crs(4326).to_numpy()
    labels, areas_m2 = footprints_on(placed, grid)
    assert [(labels == n).sum() for n in (1, 2, 3)] == [1, 40 * 40 - 1, 0]
    assert labels[40:80, 10:50].min() == 1 and labels[69, 20] == 1
    # UTM's scale on its central meridian is 0.9996.
    np.testing.assert_allclose(areas_m2[:2], np.array([0.4**2, 39.8**2]) / 0.9996**2, rtol=1e-4)
    with pytest.raises(QueryError, match="no CRS"):
        footprints_on(placed, Grid.plain(10, 10))
