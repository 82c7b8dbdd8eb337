"""STAC documents of strangers, read within bounds: where they may lead, how large they may be.

Out of a catalogue at an address only http and https are followed; out of one on disk, these and what lies in
its own folder.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import requests
import urllib3

from lib.download import MAX_REDIRECTS, TIMEOUT_S, PublicAddresses
from lib.errors import FetchError, UnreadableMediaError
from lib.media.source import open_regular
from lib.stac_config import is_address

Document = dict[str, Any]

_MAX_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be read: addresses, and paths within a folder where there is one."""

    folder: Path | None

    def resolve(self, href: object, *, at: str) -> str:
        """The address or the path that a document means by `href`.

        Raises:
            UnreadableMediaError: It leads elsewhere.
        """
        if not isinstance(href, str) or not href:
            raise UnreadableMediaError(f"its href is {href!r}, which is no address")
        if is_address(href):
            return href
        try:
            return self._joined(href, at)
        except (ValueError, OSError, RuntimeError) as error:
            raise UnreadableMediaError(f"its href {href!r} is no address or path: {error}") from error

    def _joined(self, href: str, at: str) -> str:
        if is_address(at):
            joined = urljoin(at, href)
            if not is_address(joined):
                raise UnreadableMediaError(
                    f"its href {href!r} isn't followed: it is no http or https address"
                )
            return joined
        if self.folder is None or (re.match(r"[\w+.-]+://", href) and not href.startswith("file://")):
            raise UnreadableMediaError(f"its href {href!r} isn't followed: neither http, https nor a path")
        path = Path(at)
        for text in dict.fromkeys([href.removeprefix("file://"), unquote(href.removeprefix("file://"))]):
            path = (Path(at).parent / text).resolve()
            if not path.is_relative_to(self.folder):
                raise UnreadableMediaError(
                    f"its href {href!r} isn't followed: it leads out of the catalogue's folder"
                )
            if path.exists():
                break
        return str(path)


def open_session(home: str | None) -> requests.Session:
    """A session that tries three times, follows few redirects, and asks no host of a private network.

    Args:
        home: The host of the catalogue itself, which the user named: it may be anywhere.
    """
    session = requests.Session()
    session.max_redirects = MAX_REDIRECTS
    # A server's own Retry-After isn't heeded: it may name any number of hours.
    retry = urllib3.Retry(
        total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None, redirect=False, respect_retry_after_header=False,
    )  # fmt: skip
    for scheme in ("http://", "https://"):
        session.mount(scheme, PublicAddresses(home, max_retries=retry))
    return session


def read_document(place: str, session: requests.Session) -> Document:
    """A JSON document at an address or path.

    Raises:
        UnreadableMediaError: It isn't there, is too large, or is no JSON object.
        FetchError: Its server can't be reached.
    """
    if is_address(place):
        body = ask(session, "GET", place)
    else:
        with open_regular(place) as file:
            body = file.read(_MAX_BYTES + 1)
        _refuse_large(len(body), place)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableMediaError(f"{place} is no JSON") from error
    if not isinstance(document, dict):
        raise UnreadableMediaError(f"{place} is no STAC document, but a JSON {type(document).__name__}")
    return document


def ask(session: requests.Session, method: str, url: str, **told: Any) -> bytes:
    """What a server answers.

    Raises:
        UnreadableMediaError: It refuses, redirects in circles, or sends too much.
        FetchError: It can't be reached.
    """
    try:
        with session.request(method, url, timeout=TIMEOUT_S, stream=True, **told) as response:
            if response.status_code != 200:
                raise UnreadableMediaError(f"{url} answers {response.status_code} {response.reason}")
            body = bytearray()
            for piece in response.iter_content(_CHUNK_BYTES):
                body += piece
                _refuse_large(len(body), url)
            return bytes(body)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError) as error:
        raise FetchError(
            f"{url} can't be reached: {error}. Check the address and the network. What was fetched before is "
            "kept: the same command goes on from there."
        ) from error
    except requests.RequestException as error:
        raise UnreadableMediaError(f"{url} can't be read: {error}") from error


def _refuse_large(size_bytes: int, place: str) -> None:
    if size_bytes > _MAX_BYTES:
        raise UnreadableMediaError(f"{place} is larger than any STAC document ({_MAX_BYTES >> 20} MiB)")
