"""Users' vector files: every kind read alike, and what is refused with its reason."""

import json
import sqlite3
import zipfile

import geopandas
import numpy as np
import pytest
from shapely.geometry import Point, Polygon, box

from lib.errors import QueryError, UnreadableMediaError
from lib.media.vectorfiles import read_shapes

UTM = 32633


def fields(crs=UTM) -> geopandas.GeoDataFrame:
    """Three features in UTM zone 33, the last one without geometry."""
    shapes = [Point(500_000, 5_400_000), box(500_000, 5_400_000, 500_100, 5_400_200), None]
    frame = geopandas.GeoDataFrame({"crop": ["rye", "maïs", None], "n": [1, 2, 3]}, geometry=shapes, crs=UTM)
    return frame.to_crs(crs) if crs else frame.set_crs(None, allow_override=True)


def written(path, frame):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.fgb", "a.geojson"])
def test_every_kind_gives_the_same_shapes_in_degrees(tmp_path, name):
    frame = fields(4326 if name.endswith("geojson") else UTM)
    if name.endswith("fgb"):
        frame = frame[:2]  # it has no empty geometries when indexed
    shapes = read_shapes(written(tmp_path / name, frame))
    assert len(shapes) == 2 and shapes.without_geometry == len(frame) - 2
    by_class = dict(zip(shapes.classes("crop"), shapes.geometries, strict=True))
    wanted = fields(4326).geometry
    assert by_class["rye"].distance(wanted[0]) < 1e-7
    assert by_class["maïs"].symmetric_difference(wanted[1]).area < 1e-6 * wanted[1].area
    assert set(shapes.columns) == {"crop", "n"} and set(shapes.classes("n")) == {"1", "2"}


def test_a_shapefile_is_read_with_what_lies_beside_it(tmp_path):
    path = written(tmp_path / "fields.shp", fields()[1:2])
    (tmp_path / "fields.dbf").rename(tmp_path / "fields.DBF")
    shapes = read_shapes(path)
    assert shapes.classes("crop") == ["maïs"]
    assert shapes.geometries[0].symmetric_difference(fields(4326).geometry[1]).area < 1e-12
    (tmp_path / "fields.prj").unlink()
    with pytest.raises(UnreadableMediaError, match="no CRS"):
        read_shapes(path)
    (tmp_path / "fields.shx").unlink()
    with pytest.raises(UnreadableMediaError, match=r"lacks the \.shx"):
        read_shapes(path)


def test_an_attribute_may_be_called_geometry(tmp_path):
    feature = {
        "type": "Feature",
        "properties": {"geometry": "flat"},
        "geometry": {"type": "Point", "coordinates": [1, 2, 3]},
    }
    (tmp_path / "a.geojson").write_text(json.dumps(feature), encoding="utf-8-sig")
    shapes = read_shapes(tmp_path / "a.geojson")
    assert shapes.geometries[0].wkt == "POINT (1 2)" and shapes.classes("geometry") == ["flat"]


def test_an_old_geojson_may_name_its_crs_and_may_not_point_to_one(tmp_path):
    path = tmp_path / "a.json"
    told = json.loads(fields()[:2].to_json()) | {
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    }
    path.write_text(json.dumps(told))
    assert read_shapes(path).geometries[0].distance(fields(4326).geometry[0]) < 1e-7
    told["crs"] = {"type": "link", "properties": {"href": "http://127.0.0.1:9/crs"}}
    path.write_text(json.dumps(told))
    with pytest.raises(UnreadableMediaError, match="isn't followed"):
        read_shapes(path)
    del told["crs"]
    path.write_text(json.dumps(told))
    with pytest.raises(UnreadableMediaError, match=r"go from 500000.*no degrees"):
        read_shapes(path)


def test_a_crossed_outline_is_mended(tmp_path):
    bow = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    path = written(tmp_path / "a.geojson", geopandas.GeoDataFrame(geometry=[bow], crs=4326))
    assert read_shapes(path).geometries[0].area == pytest.approx(0.5)


def test_a_geopackage_left_in_write_ahead_mode_is_read_and_one_in_use_is_not(tmp_path):
    path = written(tmp_path / "a.gpkg", fields())
    base = sqlite3.connect(path)
    base.execute("PRAGMA journal_mode=WAL")
    base.close()
    assert path.read_bytes()[18:20] == b"\2\2"
    assert len(read_shapes(path)) == 2
    (tmp_path / "a.gpkg-wal").write_bytes(b"more")
    with pytest.raises(UnreadableMediaError, match="close it there"):
        read_shapes(path)


def test_of_several_layers_none_is_guessed(tmp_path):
    path = written(tmp_path / "a.gpkg", fields())
    fields().to_file(path, layer="roads")
    with pytest.raises(UnreadableMediaError, match=r"2 layers .*roads"):
        read_shapes(path)


def vrt(path):
    other = written(path.with_name("other.geojson"), fields(4326))
    layer = f"<OGRVRTLayer name='other'><SrcDataSource>{other}</SrcDataSource></OGRVRTLayer>"
    path.write_text(f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>")


def vrt_in_disguise(path):
    vrt(path)
    path.write_bytes(b"fgb\3fgb\1" + path.read_bytes())


def vrt_beside(path):
    written(path, fields()[:1])
    for suffix in (".dbf", ".prj", ".shx"):
        vrt(path.with_suffix(suffix))


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(written(path.with_name("other.geojson"), fields(4326)), "a.geojson")


def of_a_view(path):
    written(path, fields())
    base = sqlite3.connect(path)
    base.execute("DELETE FROM gpkg_geometry_columns")
    base.execute(
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS geom FROM n"
    )
    base.execute("INSERT INTO gpkg_geometry_columns VALUES ('v', 'geom', 'POINT', 4326, 0, 0)")
    base.commit()
    base.close()


def no_features(path):
    path.write_text('{"type": "FeatureCollection", "features": []}')


def no_geometry(path):
    path.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": null}]}'
    )


def half(path):
    whole = written(path, fields()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def table(path):
    fields().drop(columns="geometry").to_parquet(path)


def text(told):
    return lambda path: path.write_text(told)


def pipe(path):
    import os

    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.vrt", vrt, r"\.vrt: give a local file"),
        ("a.gpkg", vrt, "doesn't begin as such files do"),
        ("a.geojson", vrt, "no JSON"),
        ("a.fgb", vrt, "doesn't begin"),
        ("a.fgb", vrt_in_disguise, "can't be read"),
        ("a.shp", vrt_beside, "can't be read|no CRS"),
        ("a.fgb", zipped, "doesn't begin"),
        ("a.shp", zipped, "doesn't begin"),
        ("a.zip", zipped, r"\.zip: give a local file"),
        ("a.gpkg", of_a_view, "holds 0 layers"),
        ("a.geojson", no_features, "no features"),
        ("a.geojson", no_geometry, "none of its 1 features has a geometry"),
        ("a.json", text('["coordinates"]'), "no GeoJSON"),
        ("a.json", text("[" * 100_000), "no JSON"),
        ("a.json", text('{"type": "Feature", "geometry": {"type": "Cube"}}'), "no GeoJSON"),
        ("a.json", text('{"type": "Point", "coordinates": [NaN, 1]}'), "has a geometry"),
        ("a.json", text('{"type": "Point", "coordinates": [1, 91]}'), "no degrees"),
        ("a.gpkg", half, "can't be read|no GeoPackage"),
        ("a.parquet", half, "no GeoParquet"),
        ("a.parquet", table, "no GeoParquet"),
        ("a.fgb", lambda path: path.write_bytes(b"fgb\3fgb\0" + bytes(40)), "can't be read"),
        ("a.parquet", lambda path: written(path, fields(None)), "no CRS"),
        ("a.geojson", pipe, "regular file"),
        ("a.geojson", text(""), "0 bytes"),
        ("http:x.geojson", lambda path: None, "no such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(UnreadableMediaError, match=reason):
        read_shapes(tmp_path / name)


def test_an_empty_class_column_is_told(tmp_path):
    frame = fields(4326).assign(crop=[None, np.nan, " "])
    shapes = read_shapes(written(tmp_path / "a.geojson", frame))
    with pytest.raises(QueryError, match="is empty"):
        shapes.classes("crop")
    with pytest.raises(QueryError, match="columns are crop, n"):
        shapes.classes("kind")
