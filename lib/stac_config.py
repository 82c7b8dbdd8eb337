"""What the catalog says of a STAC source: where it is, and which of its items are wanted."""

import datetime as dt
import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from lib.sections import Section

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


class StacConfig(Section):
    """A STAC API or static catalogue, and which of its items are taken."""

    href: str = Field(
        description="address of a STAC API, or address or path of a catalog.json, collection.json, item.json"
    )
    collections: tuple[str, ...] = Field(default=(), description="ids of collections; left out: all")
    bbox: tuple[float, float, float, float] | None = Field(
        default=None, description="west, south, east, north in degrees; west > east crosses the antimeridian"
    )
    datetime: str | None = Field(
        default=None,
        description='a day, month, year or instant, or two with "/" between; ".." is open: 2024-01/..',
    )
    assets: tuple[str, ...] = Field(
        default=(),
        description="names of assets, the best first; left out: the one GeoTIFF of an item, or `visual`",
    )
    max_items: int = Field(
        default=1000, ge=1, description="most items that may match; more are refused before any download"
    )

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""
        return is_address(self.href)

    @property
    def home(self) -> str | None:
        """The host that its documents come from; None where they lie on disk."""
        return urlsplit(self.href).hostname if self.is_remote else None

    def span(self) -> tuple[dt.datetime | None, dt.datetime | None]:
        """First and last instant wanted, both UTC; None where there is no such end."""
        return _span(self.datetime) if self.datetime else (None, None)

    @field_validator("href")
    @classmethod
    def _href_is_a_path_or_an_address(cls, href: str) -> str:
        if not href or ("://" in href and not is_address(href)):
            raise ValueError("it should be a path, or an address that begins with https:// or http://")
        return href

    @field_validator("datetime")
    @classmethod
    def _datetime_is_one(cls, datetime: str | None) -> str | None:
        if datetime is not None:
            _span(datetime)
        return datetime

    @model_validator(mode="after")
    def _bbox_is_on_earth(self) -> "StacConfig":
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-90 <= south <= north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
                raise ValueError(f"bbox {list(self.bbox)} should be west, south, east, north in degrees")
        return self


def is_address(href: str) -> bool:
    """Whether it is an http or https address."""
    return href.lower().startswith(("https://", "http://"))


def _span(text: str) -> tuple[dt.datetime | None, dt.datetime | None]:
    parts = text.split("/")
    if len(parts) > 2:
        raise ValueError('it should be one time, or two with "/" between them')
    start, end = _instants(parts[0])[0], _instants(parts[-1])[1]
    if start is None and end is None:
        raise ValueError("it should have a start or an end")
    if start and end and end < start:
        raise ValueError("it should not end before it starts")
    return start, end


def _instants(text: str) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The first and the last instant that a text means; a year is all of it."""
    if text in ("", ".."):
        return None, None
    date = _DATE.fullmatch(text)
    try:
        if date is None:
            instant = dt.datetime.fromisoformat(text)
            instant = instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
            return instant, instant
        year, month, day = (int(part) if part else None for part in date.groups())
        start = dt.datetime(year or 0, month or 1, day or 1, tzinfo=dt.UTC)
        if day:
            following = start + dt.timedelta(days=1)
        elif month:
            following = (start + dt.timedelta(days=31)).replace(day=1)
        else:
            following = start.replace(year=start.year + 1)
    except (ValueError, OverflowError) as error:
        raise ValueError("it should be as in 2024, 2024-01, 2024-01-31 or 2024-01-31T10:30:00Z") from error
    return start, following - dt.timedelta(seconds=1)
