"""`dinolake change` from two files to what opens elsewhere: planted changes found, unchanged ground left."""

import io
import json

import duckdb
import geopandas
import numpy as np
import pytest
import rasterio
from factories import ground, write_geotiff
from PIL import Image
from scipy import ndimage
from shapely.geometry import Polygon, box

from lib.errors import QueryError
from orchestration.changing import change_files

LEFT, TOP, GSD = 500_000.0, 5_400_000.0, 10.0
HOUSES = (slice(60, 124), slice(50, 130)), (slice(190, 250), slice(200, 290))


def run(tmp_path, before, after, **told) -> dict:
    """Both as GeoTIFFs through the command; its summary."""
    files = [write_geotiff(tmp_path / f"{name}.tif", pixels, **told) for name, pixels in
             (("scene_20240105", before), ("scene_20240322", after))]  # fmt: skip
    made = change_files(*files, tmp_path / "out", backbone="efficientnet_lite0", say=print)
    assert all(path.is_file() for path in made.paths)
    return json.loads((tmp_path / "out" / "summary.json").read_text())


def built(before: np.ndarray) -> np.ndarray:
    """New roofs on old ground."""
    after = before.copy()
    rng = np.random.default_rng(1)
    for rows, columns in HOUSES:
        roof = np.array([215, 90, 70]) + rng.normal(0, 8, after[rows, columns].shape)
        roof[::6] -= 50
        after[rows, columns] = np.clip(roof, 0, 255)
    return after


def footprint(place: tuple[slice, slice]) -> Polygon:
    """Where pixels lie in the scene's CRS."""
    rows, columns = place
    west, east = LEFT + columns.start * GSD, LEFT + columns.stop * GSD
    return box(west, TOP - rows.stop * GSD, east, TOP - rows.start * GSD)


@pytest.fixture(scope="module")
def land() -> np.ndarray:
    return ground((384, 400), seed=3)


def test_planted_houses_are_found_with_their_areas_and_dates(tmp_path, land):
    summary = run(tmp_path, land, built(land))
    frame = geopandas.read_parquet(tmp_path / "out" / "change.parquet")
    assert (summary["polygons"], summary["dates"]) == (2, ["2024-01-05", "2024-03-22"])
    for house in map(footprint, HOUSES):
        ious = frame.geometry.intersection(house).area / frame.geometry.union(house).area
        assert ious.max() >= 0.5
        assert frame["area_m2"][ious.idxmax()] == pytest.approx(house.area, rel=0.2)
    assert summary["changed_m2"] == pytest.approx(frame["area_m2"].sum(), abs=0.1)


def test_a_scene_shifted_as_a_whole_gives_the_planted_outlines_and_no_others(tmp_path, land):
    moved = ndimage.shift(built(land).astype(float), (1.4, -0.8, 0), order=1, mode="nearest")
    summary = run(tmp_path, land, np.round(moved).astype(np.uint8))
    frame = geopandas.read_parquet(tmp_path / "out" / "change.parquet")
    assert summary["shift_px"] == pytest.approx([1.4, -0.8], abs=0.1) and summary["polygons"] == 2
    for house in map(footprint, HOUSES):
        ious = frame.geometry.intersection(house).area / frame.geometry.union(house).area
        assert ious.max() > 0.85


def test_a_flooded_strip_and_a_hut_are_outlined_to_the_pixel(tmp_path, land):
    after, rng = land.copy(), np.random.default_rng(2)
    water, hut = (slice(180, 220), slice(0, 400)), (slice(60, 84), slice(300, 322))
    after[water] = np.clip(np.array([35, 55, 65]) + rng.normal(0, 4, (40, 400, 1)), 0, 255)
    after[hut] = np.clip(np.array([210, 205, 200]) + rng.normal(0, 8, (24, 22, 1)), 0, 255)
    summary = run(tmp_path, land, after)
    frame = geopandas.read_parquet(tmp_path / "out" / "change.parquet")
    assert summary["polygons"] == 2
    for found, wanted in zip(frame.geometry, map(footprint, (water, hut)), strict=True):
        assert found.intersection(wanted).area / found.union(wanted).area > 0.9
    assert (frame["mean_score"] > 0).all()


def haze(pixels):
    return pixels * 0.8 + 42


def noise(pixels):
    return pixels + np.random.default_rng(5).normal(0, 7, pixels.shape)


def jpeg(pixels):
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=55)
    return np.asarray(Image.open(held))


def gain(pixels):
    return pixels * np.array([1.12, 1.07, 1.15]) + 5


def shift(pixels):
    return np.pad(pixels, ((0, 1), (1, 0), (0, 0)), mode="edge")[1:, :-1]


@pytest.mark.parametrize("spoil", [haze, noise, jpeg, gain, shift])
def test_nothing_changed_is_nothing_found(tmp_path, land, spoil):
    again = np.clip(np.asarray(spoil(land), float), 0, 255).astype(np.uint8)
    summary = run(tmp_path, land, again)
    assert (summary["polygons"], summary["changed_m2"]) == (0, 0)
    assert len(geopandas.read_parquet(tmp_path / "out" / "change.parquet")) == 0


def test_ground_that_one_date_lacks_is_neither_changed_nor_unchanged(tmp_path, land):
    after = np.maximum(built(land), 1)
    after[:, 250:282] = 0
    summary = run(tmp_path, np.maximum(land, 1), after, nodata=0)
    with rasterio.open(tmp_path / "out" / "change.tif") as file:
        score, mask = file.read()
    assert np.isnan(score[:, 250:282]).all() and np.isnan(mask[:, 250:282]).all()
    assert np.isfinite(score[:, :250]).all() and mask[90, 90] == 1
    assert not np.nansum(mask[:50, 282:300]), "the gap's edge was taken for a change"
    assert summary["unjudged_m2"] == pytest.approx(384 * 32 * GSD**2, rel=0.01)


def test_the_map_lies_on_the_earlier_grid_and_all_of_it_opens_elsewhere(tmp_path, land):
    run(tmp_path, land, built(land))
    out = tmp_path / "out"
    with rasterio.open(out / "change.tif") as file, rasterio.open(tmp_path / "scene_20240105.tif") as before:
        assert (file.transform, file.crs, file.shape) == (before.transform, before.crs, before.shape)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.read(1).min() >= 0 and file.read(1).max() < 1
    geojson = geopandas.read_file(out / "change.geojson")
    stored = geopandas.read_parquet(out / "change.parquet")
    assert geojson.crs.to_epsg() == 4326 and stored.crs.to_epsg() == 32633
    assert all(outline.exterior.is_ccw for outline in geojson.geometry)
    rows = duckdb.sql(f"SELECT count(*), sum(area_m2) FROM '{out / 'change.parquet'}'").fetchall()[0]
    assert rows == (2, pytest.approx(stored["area_m2"].sum()))
    with Image.open(out / "change.png") as picture:
        assert picture.width > 2 * picture.height


def test_a_later_scene_in_another_crs_is_warped_onto_the_earlier(tmp_path, land):
    before = write_geotiff(tmp_path / "a.tif", land)
    utm = write_geotiff(tmp_path / "utm.tif", built(land))
    with rasterio.open(utm) as file:
        bounds = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        transform = rasterio.transform.from_bounds(*bounds, 600, 420)
        turned = np.zeros((3, 420, 600), np.uint8)
        rasterio.warp.reproject(
            file.read(), turned, src_crs=file.crs, src_transform=file.transform, dst_crs="EPSG:4326",
            dst_transform=transform, resampling=rasterio.warp.Resampling.bilinear,
        )  # fmt: skip
    after = write_geotiff(
        tmp_path / "b.tif", turned.transpose(1, 2, 0), crs="EPSG:4326", transform=transform, nodata=0
    )
    summary = change_files(before, after, tmp_path / "out", backbone="efficientnet_lite0", say=print).summary
    wanted = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in HOUSES)
    assert summary["polygons"] == 2
    assert summary["changed_m2"] == pytest.approx(wanted * GSD**2, rel=0.2)


def test_scenes_without_common_ground_are_an_error_with_both_extents(tmp_path, land):
    before = write_geotiff(tmp_path / "a.tif", land)
    after = write_geotiff(tmp_path / "b.tif", land, left=LEFT + 50_000)
    with pytest.raises(QueryError, match=r"BEFORE covers 15\.0.*AFTER 15\.6"):
        change_files(before, after, tmp_path / "out", backbone="efficientnet_lite0", say=print)
    assert not (tmp_path / "out").exists()


def test_plain_pictures_are_measured_in_pixels(tmp_path, land):
    for name, pixels in (("a.png", land), ("b.png", built(land)[:-1])):
        Image.fromarray(pixels).save(tmp_path / name)
    out = tmp_path / "out"
    made = change_files(tmp_path / "a.png", tmp_path / "b.png", out, backbone="efficientnet_lite0", say=print)
    wanted = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in HOUSES)
    assert made.summary["changed_px"] == pytest.approx(wanted, rel=0.2)
    assert made.summary["unjudged_px"] == 400 and "changed_m2" not in made.summary
    assert "pixels" in json.loads((out / "change.geojson").read_text())["note"]


@pytest.mark.real_data
@pytest.mark.parametrize(("pairs", "goal"), [("levir256", 0.82), ("levir1024", 0.96), ("dsifn256", 0.70)])
def test_labelled_pairs_are_ranked_as_well_as_promised(real_data, pairs, goal):
    from sklearn.metrics import roc_auc_score

    from lib.embedding.embed import Embedder
    from lib.media.lattice import WINDOW_PX
    from lib.tasks.change_pair import find_changes
    from lib.tasks.window_views import POOLING

    embedder = Embedder("efficientnet_lite0", size_px=WINDOW_PX, pooling=POOLING)
    scores, labels = [], []
    for before in sorted((real_data / "change" / pairs / "A").iterdir()):
        after, label = (real_data / "change" / pairs / side / before.name for side in ("B", "label"))
        scores.append(find_changes(before, after, embedder).score.ravel())
        with Image.open(label) as picture:
            labels.append(np.asarray(picture.convert("L")).ravel() > 127)
    assert roc_auc_score(np.concatenate(labels), np.concatenate(scores)) >= goal
