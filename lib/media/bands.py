"""What a raster says of its bands: which are red, green and blue, what numbers mean, where cloud is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.errors import UnreadableMediaError, UsageError

CloudTest = Callable[[np.ndarray], np.ndarray]

# Descriptions of the visible bands; the latter are Sentinel-2's own (and HLS's).
_VISIBLE = (("red", "green", "blue"), ("b04", "b03", "b02"))
# Sentinel-2 scene classification: no data, saturated, cloud shadow, cloud of medium and high probability,
# cirrus (Level-2A algorithm theoretical basis, table of classes).
_SCL_UNSEEN = (0, 1, 3, 8, 9, 10)
# Landsat Collection 2 QA_PIXEL, bits 0 to 4: fill, dilated cloud, cirrus, cloud, cloud shadow.
_QA_PIXEL_UNSEEN = 0b11111
_CLOUD_NAMES = ("cloud", "clouds", "cloud_mask", "cloudmask")


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself; of each band, in their order, where a field is a tuple.

    Attributes:
        dtypes: Names, as numpy's.
        nodata: None where none is set.
        scales: A value is the stored number × scale + offset.
        offsets: See `scales`.
        descriptions: Names of the bands, "" where they have none.
        colours: `red`, `gray`, `palette`, `alpha`, `undefined` …, as GDAL names them.
        tags: The file's, with those of GDAL's domain IMAGERY.
        gcps: How many ground control points it has.
    """

    dtypes: tuple[str, ...]
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str, ...]
    colours: tuple[str, ...]
    tags: dict[str, str]
    gcps: int

    @classmethod
    def of(cls, dataset: Any) -> "Header":
        """An open dataset's."""
        return cls(
            dtypes=tuple(dataset.dtypes),
            nodata=dataset.nodata,
            scales=tuple(dataset.scales),
            offsets=tuple(dataset.offsets),
            descriptions=tuple((text or "").strip() for text in dataset.descriptions),
            colours=tuple(kind.name for kind in dataset.colorinterp),
            tags=dataset.tags(ns="IMAGERY") | dataset.tags(),
            gcps=len(dataset.gcps[0]),
        )

    @property
    def count(self) -> int:
        """Bands."""
        return len(self.dtypes)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which bands of a file are read, and how their numbers are understood.

    Attributes:
        bands: Three numbers, from 1.
        is_palette: Whether they are one band that holds numbers of colours.
        factors: Scale and offset, (3, 1, 1) float32 each; None where they change nothing.
        cloud_band: Number of the band that tells clouds.
        is_cloud: Where a cloud band's values say that the ground isn't seen.
    """

    bands: tuple[int, ...]
    is_palette: bool
    factors: tuple[np.ndarray, np.ndarray] | None
    cloud_band: int | None
    is_cloud: CloudTest

    def as_values(self, stored: np.ndarray) -> np.ndarray:
        """(3, height, width) stored numbers as values: float32 where a scale or an offset is applied."""
        if self.factors is None:
            return stored
        scale, offset = self.factors
        # A nodata number of 1e38 is scaled too, beyond what there is; it isn't looked at.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(stored * scale + offset, np.float32)


def choose(header: Header, *, bands: Sequence[int] | None, cloud_band: int | None) -> Choice:
    """Decide which bands of a file are read.

    Args:
        header: Of the file.
        bands: Numbers of red, green and blue, or of one band for all three; None: as the file tells.
        cloud_band: Number of the band that tells clouds; None: the one that its description says.

    Raises:
        UnreadableMediaError: The file has no such band.
        UsageError: Neither one band nor three are given.
    """
    for number in (*(bands or ()), *(() if cloud_band is None else (cloud_band,))):
        if not 1 <= number <= header.count:
            raise UnreadableMediaError(
                f"it has no band {number}, but {header.count}: the archive's catalog entry names its bands"
            )
    if bands is not None and len(bands) not in (1, 3):
        raise UsageError(f"bands {tuple(bands)}: give one, or three for red, green and blue.")
    sky = cloud_band or next((n for n in _numbers(header) if _is_cloud_name(_name(header, n))), None)
    chosen = tuple(bands or _visible(header, sky))
    chosen = chosen * 3 if len(chosen) == 1 else chosen
    is_palette = header.colours[chosen[0] - 1] == "palette"
    factors = np.array([(header.scales[n - 1], header.offsets[n - 1]) for n in chosen], np.float32)
    is_plain = is_palette or bool((factors == (1, 0)).all())
    scaled = None if is_plain else (factors[:, 0, None, None], factors[:, 1, None, None])
    return Choice(chosen, is_palette, scaled, sky, _cloud_test(_name(header, sky) if sky else ""))


def _numbers(header: Header) -> range:
    return range(1, header.count + 1)


def _name(header: Header, number: int) -> str:
    return header.descriptions[number - 1].strip().lower()


def _is_cloud_name(name: str) -> bool:
    return name in ("scl", "qa_pixel", *_CLOUD_NAMES)


def _cloud_test(name: str) -> CloudTest:
    if name == "scl":
        return lambda values: np.isin(values, _SCL_UNSEEN)
    if name == "qa_pixel":
        return lambda values: values.astype(np.int64) & _QA_PIXEL_UNSEEN != 0
    return lambda values: values != 0


def _visible(header: Header, cloud_band: int | None) -> Sequence[int]:
    """Red, green and blue as far as the file tells; else its first three bands, or its one."""
    told = tuple(_name(header, number) for number in _numbers(header))
    for names, wanted in ((header.colours, _VISIBLE[0]), *((told, wanted) for wanted in _VISIBLE)):
        if all(name in names for name in wanted):
            return [names.index(name) + 1 for name in wanted]
    plain = [n for n in _numbers(header) if header.colours[n - 1] != "alpha" and n != cloud_band] or [1]
    return plain[:3] if len(plain) >= 3 else plain[:1]
