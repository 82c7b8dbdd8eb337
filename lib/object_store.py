"""Objects under one prefix of an S3 store: listed, fetched, put and removed. Alone imports s3fs.

What may pass (a store that is busy, slow or cut off, credentials that are being renewed) is tried again with
growing pauses, for so long and no longer; what won't pass is told at once.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lib.errors import LakeError, StoreError

T = TypeVar("T")
# A store that restarts, or throttles, is back by then; a run that waits longer had better say so.
_PATIENCE_S = 90.0
# Once it was waited for in vain, what follows asks whether it is back and no more.
_PATIENCE_AFTER_S = 5.0
_LONGEST_PAUSE_S = 8.0
# Refused, it may be that the keys were just renewed: they are read anew so often, then it is told.
_REFUSALS = 4
_READ_LIMIT_S = 60
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says of an object: its version, and how long it is."""

    etag: str
    bytes: int


class ObjectStore:
    """One bucket's objects below a prefix, by their keys from there on.

    Args:
        url: `s3://bucket/prefix`. Where the store is, and the keys to it, are told by the environment as for
            every S3 program: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SHARED_CREDENTIALS_FILE …
        holds: What is kept there, for messages.
        patience_s: For how long what may pass is tried again.

    Raises:
        LakeError: The address is none of S3's, or what speaks to S3 isn't installed.
    """

    def __init__(self, url: str, *, holds: str = "lake", patience_s: float = _PATIENCE_S):
        scheme, _, rest = url.partition("://")
        self._prefix, self._holds = rest.strip("/"), holds
        if scheme != "s3" or not self._prefix:
            raise LakeError(
                f"a lake can't be kept at {url!r}: point DINOLAKE_LAKE at a folder, or at s3://BUCKET/PREFIX."
            )
        self.url = f"s3://{self._prefix}"
        self._files = self._opened()
        self._longest_s = self._patience_s = patience_s

    def _opened(self) -> Any:
        """A session of its own: it reads the keys anew, from wherever they are."""
        try:
            import s3fs
        except ImportError as error:
            raise LakeError(
                f"the {self._holds} {self.url} is on S3, and s3fs isn't installed: "
                "pip install 'dinolake[server]'."
            ) from error
        return s3fs.S3FileSystem(
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": 10,
                "read_timeout": _READ_LIMIT_S,
                "retries": {"mode": "standard", "total_max_attempts": 2},
            },
        )

    def list(self) -> dict[str, Stored]:
        """Every object, by key."""

        def act() -> dict[str, Any]:
            self._files.invalidate_cache()
            return dict(self._files.find(self._prefix, detail=True))

        found = self._tried("listing it", act)
        start = len(self._prefix) + 1
        return {path[start:]: _stored(about) for path, about in found.items() if path[start:]}

    def get(self, key: str, to: Path) -> None:
        """Fetch an object into a file, whole: one that was cut off is fetched again."""

        def act() -> None:
            wanted = self._info(key).bytes
            self._files.get_file(self._path(key), str(to))
            if to.stat().st_size != wanted:
                raise ConnectionError(f"{to.stat().st_size} of {wanted} bytes came")

        self._tried(f"fetching {key}", act)

    def get_version(self, key: str, version: Stored, to: Path) -> Stored | None:
        """Fetch an object into a file, all of it of one version: one that changes meanwhile is fetched again.

        Args:
            key: The object's.
            version: The one that a listing told.
            to: The file.

        Returns:
            The version that was fetched; None where the object is gone.
        """
        wanted = version

        def act() -> Stored | None:
            nonlocal wanted
            try:
                # In one piece: of parts fetched at once each would be held in memory.
                self._files.get_file(self._path(key), str(to), max_concurrency=1)
                now = self._info(key)
            except FileNotFoundError:
                return None
            # Cut off in the middle, the rest may have come from another version.
            if now != wanted:
                wanted = now
                raise ConnectionError("it changed while it was read")
            if to.stat().st_size != wanted.bytes:
                raise ConnectionError(f"{to.stat().st_size} of {wanted.bytes} bytes came")
            return now

        return self._tried(f"fetching {key}", act)

    def put(self, path: Path, key: str) -> Stored:
        """Store a file under a key, in one step: nobody sees half of it."""

        def act() -> Stored:
            self._files.put_file(str(path), self._path(key))
            stored = self._info(key)
            if stored.bytes != path.stat().st_size:
                raise ConnectionError(f"{stored.bytes} of {path.stat().st_size} bytes arrived")
            return stored

        return self._tried(f"storing {key}", act)

    def remove(self, key: str) -> None:
        """Remove an object; one that is gone already is fine."""

        def act() -> None:
            try:
                self._files.rm_file(self._path(key))
            except FileNotFoundError:
                return

        self._tried(f"removing {key}", act)

    def _info(self, key: str) -> Stored:
        self._files.invalidate_cache()
        return _stored(self._files.info(self._path(key)))

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    def _tried(self, what: str, act: Callable[[], T]) -> T:
        began, pause_s, refusals = time.monotonic(), 0.25, 0
        while True:
            try:
                done = act()
                self._patience_s = self._longest_s
                return done
            except Exception as error:  # noqa: BLE001 - what it may be is botocore's, aiohttp's or the system's
                refusals += _is_refusal(error)
                waited_s = time.monotonic() - began
                if not _may_pass(error) or waited_s > self._patience_s or refusals >= _REFUSALS:
                    self._patience_s = min(self._longest_s, _PATIENCE_AFTER_S)
                    # Tried for long enough: the cause is told as one that no other retry waits for.
                    raise self._told(what, error, waited_s) from OSError(str(error))
                if _is_refusal(error):
                    self._files = self._opened()
            # Apart from each other, or many that were refused together would come again together.
            time.sleep(pause_s * random.uniform(0.7, 1.3))  # noqa: S311 - no secret depends on it
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _told(self, what: str, error: Exception, waited_s: float) -> StoreError:
        code, text = _code(error), str(error).splitlines()[0] if str(error) else type(error).__name__
        if code in _EXPIRED:
            remedy = "Renew the credentials, and run the same command again: what is committed stays."
        elif _is_refusal(error):
            remedy = "See to the credentials (AWS_ACCESS_KEY_ID …) and to what they may do in this bucket."
        elif isinstance(error, FileNotFoundError):
            remedy = "See to the bucket's name and to AWS_ENDPOINT_URL; a bucket has to be there already."
        elif not _may_pass(error):
            remedy = "See to the address, to AWS_ENDPOINT_URL and to the credentials (AWS_ACCESS_KEY_ID …)."
        else:
            remedy = (
                f"It was tried for {waited_s:.0f} s. What is committed stays; the same command goes on there."
            )
        told = f"{code}: {text}" if code and code not in text else text
        return StoreError(
            f"the {self._holds}'s store {self.url} failed while {what} ({told.rstrip('.')}). {remedy}"
        )


def _stored(about: dict[str, Any]) -> Stored:
    return Stored(str(about.get("ETag", "")).strip('"'), int(about["size"]))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: Exception) -> str:
    """The store's own word for what went wrong; "" where it gave none."""
    for each in _causes(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, PermissionError) or _code(error) in (*_EXPIRED, "InvalidToken")


def _may_pass(error: Exception) -> bool:
    if _is_refusal(error):
        return True
    if isinstance(error, FileNotFoundError | ValueError | TypeError):
        return False
    # By name: botocore's errors, whose module isn't imported for this.
    return type(error).__name__ not in ("NoCredentialsError", "PartialCredentialsError", "InvalidRegionError")
