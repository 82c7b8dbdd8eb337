"""STAC as a source of scenes: one raster of each item, and the item beside it, fetched into a folder once.

`<id>.tif` is the raster, `<id>.json` the STAC item with that one asset, which says where it came from. An
item that can't be had is a row with its reason and stops no other.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from filelock import FileLock

from lib.datasets import RemoteFile
from lib.download import TIMEOUT_S, Progress, PublicAddresses, download
from lib.errors import FetchError, UnreadableMediaError
from lib.stac_config import StacConfig, is_address
from lib.stac_documents import open_session
from lib.stac_items import Found, find_items, reach_of

if TYPE_CHECKING:
    from pystac import Asset, Item

_TIFF_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/x.geotiff")
_TIFF_SUFFIXES = (".tif", ".tiff")
_DEFAULT_ASSET = "visual"
_MAX_NAME = 120
_INSTEAD = "Ask whoever keeps the catalogue, or leave the item out by `bbox`, `datetime` or `collections`."
_ORIGIN = "dinolake:origin"
_ASSET_VERSION = ("updated", "file:checksum")
# What a STAC item of the wrong shape does to pystac.
_MISSHAPEN = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)
# So many downloads that failed one after the other: it isn't the items.
_FAILURES_IN_A_ROW = 3
# SHA-256 as a multihash: its code, its length, and the digest.
_SHA256 = re.compile(r"1220([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class FetchedScene:
    """One item: its raster and its JSON, or the reason why they aren't there."""

    id: str
    path: Path | None
    item_path: Path | None
    reason: str = ""
    was_there: bool = False  # from an earlier call; nothing was downloaded


def fetch_scenes(
    config: StacConfig, into: Path, *, progress: Progress | None = None,
    skip: Callable[[str], bool] = lambda name: False,
) -> list[FetchedScene]:  # fmt: skip
    """Bring the wanted items' rasters into a folder; what stands and hasn't changed is left alone.

    A raster on the same disk is hard-linked, or copied where that fails. One at an address is downloaded, and
    again only when the item's or asset's `updated`, its checksum, or (where it has neither) the server's ETag
    or length is another than it was.

    Args:
        config: Where, and which items.
        into: The folder, made if need be. Unfinished downloads are kept in `_downloads/<its name>` beside it.
        progress: Called with a file's name, the bytes so far and the bytes in all (None if not known).
        skip: Called with the name that a raster would have; those it is true of are passed over.

    Returns:
        A row an item, in the source's order; also for what was linked and couldn't be read.

    Raises:
        FetchError: The source can't be reached or is no STAC, more items match than may, or several downloads
            failed one after the other. What was fetched is kept.
    """
    found = find_items(config)
    work = into.parent / "_downloads" / into.name
    into.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work / ".lock"):
        return _Fetching(config, into, work, progress, skip).run(found)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a raster came from, as its item's JSON tells it."""

    href: str
    version: str | None  # None: nothing that would tell is known
    size_bytes: int


@dataclass(slots=True)
class _Fetching:
    config: StacConfig
    into: Path
    work: Path
    progress: Progress | None
    skip: Callable[[str], bool]
    names: dict[str, str] = field(default_factory=dict)  # of files, to the items that they are of
    failures: int = 0

    def run(self, found: list[Found]) -> list[FetchedScene]:
        scenes = []
        for one in found:
            try:
                scene = self._scene(one)
            except (UnreadableMediaError, FetchError) as error:
                self._count(error)
                if not self.skip(f"{_id_of(one)}.tif"):
                    scenes.append(FetchedScene(_id_of(one), None, None, str(error)))
            else:
                self.failures = 0
                scenes += [scene] if scene else []
        return scenes

    def _count(self, error: UnreadableMediaError | FetchError) -> None:
        # A server's refusal has no cause; a lost connection or a full disk has.
        if not (isinstance(error, FetchError) and error.__cause__):
            return
        self.failures += 1
        if self.failures == _FAILURES_IN_A_ROW:
            raise FetchError(
                f"{self.failures} downloads failed one after the other. The last: {error} What was fetched "
                "is kept: the same command goes on from there."
            ) from error

    def _scene(self, found: Found) -> FetchedScene | None:
        item = _item_of(found)
        name = _file_name(item.id)
        if self.skip(f"{name}.tif") or not self._claim(name, item):
            return None
        key, asset = _asset_of(item, self.config.assets)
        source = reach_of(self.config).resolve(asset.href, at=found.at)
        tif, item_path = self.into / f"{name}.tif", self.into / f"{name}.json"
        if str(item_path.resolve()) == found.at or str(tif.resolve()) == source:
            raise UnreadableMediaError("it lies where it would be written: fetch into another folder")
        home = self.config.home
        version = _remote_version(source, item, asset, home) if is_address(source) else _local_version(source)
        known = _origin_in(item_path)
        stands = (
            known is not None
            and (known.href, known.size_bytes) == (_without_query(source), _size(tif))
            and version in (known.version, None)
        )
        if not stands:
            self._bring(source, asset, tif)
        version = known.version if known and stands else version
        _write_item(item, key, _Origin(_without_query(source), version, _size(tif)), path=item_path)
        return FetchedScene(item.id, tif, item_path, was_there=stands)

    def _claim(self, name: str, item: "Item") -> bool:
        """Whether a file's name is this item's from now on; not if the item had its turn."""
        owner = json.dumps([item.collection_id, item.id])
        taken = self.names.setdefault(name.casefold(), "")
        if taken and taken != owner:
            raise UnreadableMediaError(
                f"the item {taken} has the same file name {name!r}: fetch their collections apart"
            )
        self.names[name.casefold()] = owner
        return not taken

    def _bring(self, source: str, asset: "Asset", tif: Path) -> None:
        from lib.media.raster import is_tiff

        came = self.work / tif.name
        if is_address(source):
            file = RemoteFile(source, tif.name, sha256=_sha256_of(asset))
            adapter = PublicAddresses(self.config.home)
            download(file, source, came, progress=self.progress, adapter=adapter, instead=_INSTEAD)
        if not is_tiff(came if is_address(source) else Path(source)):
            came.unlink(missing_ok=True)
            raise UnreadableMediaError(f"{source} is no TIFF")
        if not is_address(source):
            _link(Path(source), came)
        came.replace(tif)
        # Renaming one name of a file to another of the same file does nothing.
        came.unlink(missing_ok=True)


def _link(source: Path, to: Path) -> None:
    to.unlink(missing_ok=True)
    try:
        to.hardlink_to(source)
    except OSError:
        # Another disk, or one that knows no links.
        try:
            shutil.copyfile(source, to)
        except OSError as error:
            raise FetchError(f"{source} can't be copied to {to.parent}: {error.strerror}.") from error


def _id_of(found: Found) -> str:
    told = (found.document or {}).get("id")
    return told if isinstance(told, str) and told else PurePosixPath(urlsplit(found.at).path).stem or found.at


def _item_of(found: Found) -> "Item":
    import pystac

    if found.document is None:
        raise UnreadableMediaError(found.reason)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that have newer versions
            item = pystac.Item.from_dict(found.document)
    except (*_MISSHAPEN, pystac.STACError, pystac.STACTypeError) as error:
        raise UnreadableMediaError(f"{found.at} holds no valid STAC item: {error}") from error
    if not isinstance(item.id, str) or not item.id:
        raise UnreadableMediaError(f"{found.at} holds an item whose id is {item.id!r}")
    return item


def _file_name(item_id: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", item_id).strip("._-")
    if safe == item_id and len(safe) <= _MAX_NAME:
        return safe
    # Two ids may look alike once they are made safe.
    return f"{safe[:_MAX_NAME]}_{hashlib.sha256(item_id.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _asset_of(item: "Item", names: Sequence[str]) -> tuple[str, "Asset"]:
    there = ", ".join(item.assets) or "none"
    if names:
        wanted = next((name for name in names if name in item.assets), None)
        if wanted is None:
            raise UnreadableMediaError(f"has no asset {' or '.join(names)}; it has: {there}")
        return wanted, item.assets[wanted]
    tiffs = [name for name, asset in item.assets.items() if _is_geotiff(asset)]
    if len(tiffs) != 1 and _DEFAULT_ASSET not in tiffs:
        count = f"{len(tiffs)} GeoTIFFs" if tiffs else "no GeoTIFF"
        raise UnreadableMediaError(f"has {count} among its assets: name one of them in `assets`: {there}")
    name = tiffs[0] if len(tiffs) == 1 else _DEFAULT_ASSET
    return name, item.assets[name]


def _is_geotiff(asset: "Asset") -> bool:
    kind = str(asset.media_type or "").lower().split(";")[0].strip()
    return kind in _TIFF_TYPES or urlsplit(str(asset.href)).path.lower().endswith(_TIFF_SUFFIXES)


def _sha256_of(asset: "Asset") -> str | None:
    digest = _SHA256.fullmatch(str(asset.extra_fields.get("file:checksum", "")).lower())
    return digest[1] if digest else None


def _local_version(source: str) -> str:
    try:
        facts = Path(source).stat()
    except OSError as error:
        raise UnreadableMediaError(f"{source} can't be read: {error.strerror}") from error
    return f"{facts.st_size} bytes, {facts.st_mtime_ns}"


def _remote_version(url: str, item: "Item", asset: "Asset", home: str | None) -> str | None:
    """What tells this version of a file from another; None where nothing does."""
    stated = (item.properties.get("updated"), *(asset.extra_fields.get(key) for key in _ASSET_VERSION))
    if any(stated):
        return json.dumps(stated)
    try:
        with open_session(home) as session:
            answer = session.head(url, timeout=TIMEOUT_S, allow_redirects=True)
    except requests.RequestException:
        return None  # the download will say what is wrong
    told = (answer.headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length"))
    return next(filter(None, told), None) if answer.ok else None


def _without_query(source: str) -> str:
    # Signed addresses change with every search, and their tokens are nobody else's business.
    return source.partition("?")[0] if is_address(source) else source


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _origin_in(item_path: Path) -> _Origin | None:
    try:
        (asset,) = json.loads(item_path.read_text(encoding="utf-8"))["assets"].values()
        return _Origin(**asset[_ORIGIN])
    except (OSError, *_MISSHAPEN):
        return None  # not fetched yet, or not by us


def _write_item(item: "Item", key: str, origin: _Origin, *, path: Path) -> None:
    """The item as STAC that stands by itself: its one asset lies beside it, and no link leads anywhere."""
    asset = item.assets[key]
    asset.href = f"./{path.stem}.tif"
    asset.extra_fields[_ORIGIN] = asdict(origin)
    item.assets = {key: asset}
    item.clear_links()
    try:
        told = json.dumps(item.to_dict(include_self_link=False, transform_hrefs=False), indent=1)
    except _MISSHAPEN as error:
        raise UnreadableMediaError(f"its item can't be written as JSON: {error}") from error
    if path.is_file() and path.read_text(encoding="utf-8") == told:
        return
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    partial.write_text(told, encoding="utf-8")
    partial.replace(path)
