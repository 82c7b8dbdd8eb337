"""Finding STAC items: by an API's search, or by following a static catalogue's links.

What can't be read or isn't followed is a find too, with its reason.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from lib.errors import FetchError, UnreadableMediaError
from lib.stac_config import StacConfig, is_address
from lib.stac_documents import Document, Reach, ask, open_session, read_document

if TYPE_CHECKING:
    from pystac_client.stac_api_io import StacApiIO

_MAX_DOCUMENTS = 100_000
_PAGE_ITEMS = 100
_ROOT_NAMES = ("catalog.json", "collection.json")
# What a STAC document of the wrong shape does to code that expects the right one.
_MISSHAPEN = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Found:
    """An item, or why there is none at this place."""

    at: str  # address or path of the document that holds it: what relative addresses start from
    document: Document | None
    reason: str = ""


def reach_of(config: StacConfig) -> Reach:
    """What the documents of a source may name."""
    return Reach(None if config.is_remote else Path(_root(config)).parent)


def find_items(config: StacConfig) -> list[Found]:
    """The items that are wanted, in the source's own order, and what couldn't be read on the way.

    Raises:
        FetchError: The source can't be reached or is no STAC, or more items match than may.
    """
    root, reach = _root(config), reach_of(config)
    with open_session(config.home) as session:
        try:
            document = read_document(root, session)
            search = _search_of(document, root, reach)
            found = (
                _walk(root, document, reach, config=config, session=session)
                if search is None
                else _searched(search, config, session)
            )
            return _limited(found, config)
        except UnreadableMediaError as error:
            raise FetchError(
                f"the STAC source {config.href} can't be used: {error}. `href` should be the address of an "
                "API, or the address or path of a catalog.json, collection.json or item.json."
            ) from error


def _root(config: StacConfig) -> str:
    if config.is_remote:
        return config.href
    path = Path(config.href).expanduser()
    if path.is_dir():
        path = next((path / name for name in _ROOT_NAMES if (path / name).is_file()), path / _ROOT_NAMES[0])
    return str(path.resolve())


def _limited(found: Iterable[Found], config: StacConfig) -> list[Found]:
    taken: list[Found] = []
    items = 0
    for one in found:
        items += one.document is not None
        if items > config.max_items:
            raise FetchError(
                f"more than {config.max_items:,} items of {config.href} match. Narrow `bbox`, `datetime` or "
                "`collections`, or raise `max_items`. Nothing was downloaded."
            )
        taken.append(one)
    return taken


@dataclass(frozen=True, slots=True)
class _Search:
    url: str
    method: str
    takes_collections: bool


def _search_of(document: Document, root: str, reach: Reach) -> _Search | None:
    """Where an API's items are asked for; None in a static catalogue."""
    links = _links(document)
    searches = [link for link in links if link.get("rel") == "search"]
    if searches:
        methods = {str(link.get("method", "GET")).upper() for link in searches}
        url = reach.resolve(searches[0].get("href"), at=root)
        return _Search(url, "POST" if "POST" in methods else "GET", True)
    items = [link for link in links if link.get("rel") == "items"]
    if items and not any(link.get("rel") == "item" for link in links):
        # An API's collection: its items have an address of their own.
        return _Search(reach.resolve(items[0].get("href"), at=root), "GET", False)
    return None


def _links(document: Document) -> list[Document]:
    links = document.get("links")
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def _searched(search: _Search, config: StacConfig, session: requests.Session) -> Iterator[Found]:
    from pystac_client import ItemSearch

    start, end = (_shown(instant) for instant in config.span())
    query = ItemSearch(
        search.url,
        method=search.method,
        stac_io=_bounded_io(session),
        limit=min(_PAGE_ITEMS, config.max_items + 1),
        collections=list(config.collections) or None if search.takes_collections else None,
        bbox=list(config.bbox) if config.bbox else None,
        datetime=f"{start}/{end}" if config.datetime else None,
    )
    seen: set[str] = set()
    try:
        # As they come: made into objects, old items would have further documents read.
        for page in query.pages_as_dicts():
            fresh = [item for item in page["features"] if _identity(item) not in seen]
            if not fresh:
                return  # pages that turn in a circle
            seen |= {_identity(item) for item in fresh}
            yield from (Found(_own_address(item) or search.url, item) for item in fresh)
    except _MISSHAPEN as error:
        raise UnreadableMediaError(f"{search.url} doesn't answer as a STAC API does ({error!r})") from error


def _shown(instant: datetime | None) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if instant else ".."


def _identity(item: Document) -> str:
    return json.dumps([item.get("collection"), item["id"]])


def _own_address(item: Document) -> str | None:
    own = [link.get("href") for link in _links(item) if link.get("rel") == "self"]
    return next((href for href in own if isinstance(href, str) and is_address(href)), None)


def _bounded_io(session: requests.Session) -> "StacApiIO":
    """pystac-client's paging over our session: bounded in size and time, and never from disk."""
    from pystac_client.stac_api_io import StacApiIO

    class BoundedIO(StacApiIO):
        def request(
            self,
            href: str,
            method: str | None = None,
            headers: dict[str, str] | None = None,
            parameters: dict[str, Any] | None = None,
        ) -> str:
            key = "json" if (method or "GET").upper() == "POST" else "params"
            body = ask(session, (method or "GET").upper(), href, headers=headers, **{key: parameters})
            return body.decode()

    return BoundedIO()


def _walk(
    root: str, document: Document, reach: Reach, *, config: StacConfig, session: requests.Session
) -> Iterator[Found]:
    """A static catalogue's items, level by level; each document is read once, however it is linked."""
    waiting, seen = deque([root]), {root}
    while waiting:
        at = waiting.popleft()
        try:
            # The root was read already.
            read = document if at == root else read_document(at, session)
        except UnreadableMediaError as error:
            yield Found(at, None, str(error))
            continue
        yield from _items_in(at, read, config)
        for link in _followed(read, config):
            try:
                place = reach.resolve(link.get("href"), at=at)
            except UnreadableMediaError as error:
                yield Found(str(link.get("href")), None, str(error))
                continue
            if place not in seen:
                seen.add(place)
                waiting.append(place)
        if len(seen) > _MAX_DOCUMENTS:
            raise FetchError(
                f"the catalogue {config.href} is of more than {_MAX_DOCUMENTS:,} documents. Set `href` to "
                "one of the collections in it."
            )


def _followed(document: Document, config: StacConfig) -> list[Document]:
    is_other = document.get("type") == "Collection" and not _is_wanted(document.get("id"), config)
    rels = ("child",) if is_other else ("child", "item")
    is_container = document.get("type") not in ("Feature", "FeatureCollection")
    return [link for link in _links(document) if link.get("rel") in rels] if is_container else []


def _is_wanted(collection: object, config: StacConfig) -> bool:
    return not config.collections or collection in config.collections


def _items_in(at: str, document: Document, config: StacConfig) -> Iterator[Found]:
    features = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    for item in features if isinstance(features, list) else []:
        if not isinstance(item, dict) or (item.get("type") != "Feature" and item is not document):
            yield Found(at, None, "holds something that is no STAC item")
        elif item.get("type") == "Feature":
            try:
                if _matches(item, config):
                    yield Found(at, item)
            except _MISSHAPEN as error:
                yield Found(at, None, f"its bbox or date can't be compared with those wanted ({error!r})")


def _matches(item: Document, config: StacConfig) -> bool:
    if not _is_wanted(item.get("collection"), config):
        return False
    if config.bbox is not None and not _intersect(config.bbox, item["bbox"]):
        return False
    start, end = config.span()
    about = item["properties"] if start or end else {}
    first, last = (
        _instant(about.get(key) or about["datetime"]) if about else None
        for key in ("start_datetime", "end_datetime")
    )
    return not ((start and last and last < start) or (end and first and first > end))


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _intersect(one: Sequence[float], other: Sequence[float]) -> bool:
    # Six numbers have heights too.
    (west, south, east, north), (west_2, south_2, east_2, north_2) = (
        (box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1]) for box in (one, other)
    )
    return (
        south <= north_2
        and south_2 <= north
        and any(
            left <= right_2 and left_2 <= right
            for left, right in _spans(west, east)
            for left_2, right_2 in _spans(west_2, east_2)
        )
    )


def _spans(west: float, east: float) -> list[tuple[float, float]]:
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
