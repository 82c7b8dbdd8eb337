"""A bucket as an archive's source: its objects below a prefix, mirrored into a folder that a line reads.

An object is fetched once, and again when its size or ETag is another. What can't be had is a row with its
reason and stops no other.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from lib.bucket_keys import is_folder, is_marker, refused_of, shown
from lib.catalog import Archive
from lib.download import Progress
from lib.errors import CatalogError, FetchError, LakeError
from lib.object_store import ObjectStore, Stored
from lib.stages.sources import FEW_REMOVED

# Versions of what was fetched, by digests of the keys: an item that is forgotten stands nowhere.
_MANIFEST = "bucket.json"
_AT_ONCE = 8
# After so many the manifest is written: what a killed process had fetched isn't fetched again.
_BATCH = 64
_FAILURES_IN_A_ROW = 3
# A look has others waiting: Dagster gives a sensor a minute.
_GLANCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a look at a bucket came to. `not_fetched` are objects with the reason why they aren't here."""

    objects: int
    fetched: int
    removed: int
    not_fetched: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a mirror would do: objects to fetch, and local copies to remove."""

    fetched: int
    removed: int


def mirror(
    archive: Archive,
    into: Path,
    *,
    accept_removed: bool = False,
    skip: Callable[[str], bool] = lambda key: False,
    progress: Progress | None = None,
) -> Mirrored:
    """Bring a folder in line with the bucket of an archive's `root`.

    Args:
        archive: Its root is an address, `s3://BUCKET/PREFIX`.
        into: The folder, made if need be; the manifest and unfinished files lie in `_downloads/<its name>`
            beside it.
        accept_removed: That objects are gone is right, however many.
        skip: Whether an object, by its key below the prefix, is to stay out.
        progress: Called with the address, the bytes so far and the bytes in all.

    Raises:
        FetchError: The bucket isn't there, refuses or doesn't answer, or three objects failed one after the
            other. What was fetched is kept.
        CatalogError: More is gone than `watch.max_removed_pct` allows. Nothing was removed or fetched then.
    """
    store = _open(archive.root)
    work = _work(into)
    into.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work / ".lock"):
        for left in work.glob("*.part"):
            left.unlink()
        plan = _compare(archive, into, _list(store), skip)
        if not accept_removed:
            _require_most_left(archive, plan)
        return _Mirroring(store, into, plan, progress).run()


def look_ahead(archive: Archive, into: Path, *, skip: Callable[[str], bool] = lambda key: False) -> Ahead:
    """What `mirror` would do now, told from the bucket's listing.

    Raises:
        FetchError: As `mirror`.
    """
    plan = _compare(archive, into, _glance(archive.root), skip)
    return Ahead(len(plan.wanted), len(plan.gone))


def listing_mark(
    archive: Archive, into: Path, *, skip: Callable[[str], bool] = lambda key: False
) -> tuple[str, int]:
    """A digest of the bucket's listing, the same for the same objects; and how many there are.

    Raises:
        FetchError, CatalogError: As `mirror`.
    """
    listed = _glance(archive.root)
    _require_most_left(archive, _compare(archive, into, listed, skip))
    told = json.dumps(sorted((key, about.etag, about.bytes) for key, about in listed.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:32], len(listed)


def count_objects(address: str) -> int:
    """How many objects lie below an address.

    Raises:
        FetchError: As `mirror`.
        CatalogError: It is no address of a bucket.
    """
    return len(_glance(address))


@dataclass(frozen=True, slots=True)
class _Plan:
    count: int  # of what is listed, whether it can be fetched or not
    objects: set[str]
    known: set[str]  # local copies, without those that are to stay out
    wanted: dict[str, Stored]
    gone: list[str]
    refused: dict[str, str]
    versions: dict[str, list[str | int]]


def _compare(
    archive: Archive, into: Path, listed: Mapping[str, Stored], skip: Callable[[str], bool]
) -> _Plan:
    listed = {key: about for key, about in listed.items() if not skip(key)}
    refused = dict(refused_of(archive.line, listed))
    objects = {
        key: about
        for key, about in listed.items()
        if shown(key, listed) not in refused and not is_folder(key, about) and not is_marker(key, listed)
    }
    local = dict(_local(into))
    versions = _versions(into)
    wanted = {
        key: about
        for key, about in objects.items()
        if local.get(key) != about.bytes or versions.get(_digest(key)) != [about.etag, about.bytes]
    }
    gone = sorted(local.keys() - objects.keys())
    kept = {_digest(key) for key in objects}
    return _Plan(
        len(listed), set(objects), {path for path in local if not skip(path)}, wanted, gone, refused,
        {digest: version for digest, version in versions.items() if digest in kept},
    )  # fmt: skip


def _require_most_left(archive: Archive, plan: _Plan) -> None:
    """Refuse to take an empty or wrong listing for a mass deletion."""
    gone = [path for path in plan.gone if path in plan.known]
    if gone and len(gone) == len(plan.known) and not plan.objects:
        raise CatalogError(
            f"{archive.root} is empty, but {len(gone):,} objects were known there. See to the address and to "
            f"AWS_ENDPOINT_URL; or, if they are gone for good, `dinolake run {archive.name} --accept-empty`."
        )
    limit = archive.watch.max_removed_pct
    lost = len(gone) - len(plan.objects - plan.known)
    if lost > FEW_REMOVED and 100 * lost > limit * len(plan.known):
        raise CatalogError(
            f"{len(gone):,} of {len(plan.known):,} known objects are gone from {archive.root} "
            f"({gone[0]!r} is one), more than {limit:g} % at once: that looks like another bucket, so "
            "nothing was removed. See to the address and to AWS_ENDPOINT_URL; or, if they are gone for good, "
            f"`dinolake run {archive.name} --accept-removed`."
        )


@dataclass(slots=True)
class _Mirroring:
    store: ObjectStore
    into: Path
    plan: _Plan
    progress: Progress | None
    failures: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    fetched: int = 0
    bytes: int = 0
    bytes_done: int = 0

    def run(self) -> Mirrored:
        # First: what was a file may be a folder now.
        for path in self.plan.gone:
            (self.into / path).unlink(missing_ok=True)
            self._drop_empty((self.into / path).parent)
        wanted = list(self.plan.wanted.items())
        self.bytes = sum(about.bytes for _, about in wanted)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(wanted), _BATCH):
                batch = wanted[start : start + _BATCH]
                try:
                    for (key, about), result in zip(batch, pool.map(self._fetch, batch), strict=True):
                        self._note(key, about, result)
                finally:
                    self._write_manifest()
        if not wanted:
            self._write_manifest()
        reasons = self.plan.refused | self.failed
        return Mirrored(self.plan.count, self.fetched, len(self.plan.gone), reasons)

    def _fetch(self, one: tuple[str, Stored]) -> Stored | FetchError | None:
        """The version that lies there now; why not; None for an object that is gone."""
        key, about = one
        came = _work(self.into) / f"{_digest(key)}.part"
        if self.failures >= _FAILURES_IN_A_ROW:
            return FetchError("not tried any more")
        try:
            version = self.store.get_version(key, about, came)
            if version is not None:
                place = self.into / key
                place.parent.mkdir(parents=True, exist_ok=True)
                came.replace(place)
            return version
        except (LakeError, OSError) as error:
            return FetchError(str(error))
        finally:
            came.unlink(missing_ok=True)

    def _note(self, key: str, about: Stored, result: Stored | FetchError | None) -> None:
        self.bytes_done += about.bytes
        if isinstance(result, FetchError):
            self.failed[key] = str(result)
            self.failures += 1
            if self.failures == _FAILURES_IN_A_ROW:
                raise FetchError(
                    f"{self.failures} objects failed one after the other. The last: {result} What was "
                    "fetched is kept: the same command goes on from there."
                ) from result
            return
        self.failures = 0
        if result is None:
            (self.into / key).unlink(missing_ok=True)
            self.plan.versions.pop(_digest(key), None)
            return
        self.plan.versions[_digest(key)] = [result.etag, result.bytes]
        self.fetched += 1
        if self.progress:
            self.progress(self.store.url, self.bytes_done, self.bytes)

    def _write_manifest(self) -> None:
        path = _work(self.into) / _MANIFEST
        # It tells of this machine's files, so that it goes to no store as what write_whole writes does.
        partial = path.with_name(f"{_MANIFEST}.part")
        partial.write_text(json.dumps(self.plan.versions), encoding="utf-8")
        partial.replace(path)

    def _drop_empty(self, folder: Path) -> None:
        while folder != self.into and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _glance(address: str | None) -> dict[str, Stored]:
    return _list(_open(address, patience_s=_GLANCE_S))


def _open(address: str | None, **more: float) -> ObjectStore:
    place = (address or "").removeprefix("s3://")
    if "@" in place:
        # Not shown: what is before it may be a key's secret.
        raise CatalogError(
            'the address of a bucket has an "@": keys belong in the environment, AWS_ACCESS_KEY_ID …'
        )
    if not place.strip("/"):
        raise CatalogError(f"{address!r} is no address of a bucket: that would be s3://BUCKET/PREFIX.")
    try:
        return ObjectStore(address or "", holds="source", **more)
    except LakeError as error:
        raise FetchError(str(error)) from error


def _list(store: ObjectStore) -> dict[str, Stored]:
    try:
        return store.list()
    except LakeError as error:
        raise FetchError(str(error)) from error


def _work(into: Path) -> Path:
    return into.parent / "_downloads" / into.name


def _local(into: Path) -> Iterator[tuple[str, int]]:
    # Paths as text: 100,000 of them made relative one by one take several times as long.
    start = len(str(into)) + 1
    for folder, _, names in os.walk(into):
        for name in names:
            path = f"{folder}/{name}"
            yield path[start:], Path(path).stat().st_size


def _versions(into: Path) -> dict[str, list[str | int]]:
    try:
        told = json.loads((_work(into) / _MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}  # everything is fetched again
    return dict(told) if isinstance(told, dict) else {}


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
