"""One file over HTTP: resumed where it was cut, checked by hash, in place whole or not at all.

Written on `requests`, because none of the libraries at hand does all of it: pooch checks hashes but begins
again after a cut (and loses a finished download that is killed while it is being hashed), fsspec and
urllib3's retries don't resume within a body, and huggingface_hub resumes only through an internal function
and without asking whether the file changed.
"""

import hashlib
import ipaddress
import json
import re
import socket
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests import exceptions as failures
from requests.adapters import HTTPAdapter

from lib.datasets import RemoteFile
from lib.errors import FetchError
from lib.room import require_room, size_text

Progress = Callable[[str, int, int | None], None]  # file's name, bytes so far, bytes in all if known

ATTEMPTS = 5  # in a row without a byte gained
MAX_REDIRECTS = 5
MAX_WAIT_S = 60
TIMEOUT_S = (10.0, 60.0)  # to connect, between two reads
CHUNK_BYTES = 1 << 20
# What to do about a dataset's file that can't be had; other sources have other ways.
INSTEAD = "Set a `mirror`, or `root` if you have the files."


class _CutError(Exception):
    """A download stopped in a way that trying again may mend."""

    def __init__(self, reason: str, wait_s: float = 0.0):
        super().__init__(reason)
        self.wait_s = wait_s


class PrivateAddressError(failures.InvalidURL):
    """A document of a stranger's leads into a network that isn't everyone's."""


class PublicAddresses(HTTPAdapter):
    """Refuses hosts of this machine and of private networks, whatever redirects lead there.

    For what documents of strangers name: a router's page is nothing that a catalogue should have fetched.

    Args:
        home: The one host that is not asked: the document's own.
    """

    def __init__(self, home: str | None, **settings: Any):
        super().__init__(**settings)
        self._home = home

    def send(self, request: requests.PreparedRequest, *args: Any, **settings: Any) -> requests.Response:
        """As `HTTPAdapter.send`, which is called anew for every redirect.

        Raises:
            PrivateAddressError: The host is, or its name means, such an address.
        """
        host = urlsplit(request.url or "").hostname or ""
        if host != self._home and (address := _private_address(host)):
            raise PrivateAddressError(
                f"leads to {host} ({address}), which is in no public network: what a document of strangers "
                "names isn't fetched from there"
            )
        return super().send(request, *args, **settings)


def _private_address(host: str) -> str:
    """The address of this machine, or of a private network, that a host has; "" where it has none."""
    try:
        found = {str(told[4][0]).partition("%")[0] for told in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return ""  # nor can it be reached, but by a proxy that knows the name
    for text in sorted(found):
        address = ipaddress.ip_address(text)
        # ::ffff:127.0.0.1 is 127.0.0.1.
        if not (getattr(address, "ipv4_mapped", None) or address).is_global:
            return text
    return ""


def download(
    file: RemoteFile, url: str, to: Path, *, token: str | None = None, progress: Progress | None = None,
    adapter: HTTPAdapter | None = None, instead: str = INSTEAD,
) -> str:  # fmt: skip
    """Download a file from an address, going on from what an earlier call left in `<to>.part`.

    Args:
        file: Its name and hash.
        url: Its own address, or a mirror's.
        to: Where it will be; the folder must exist.
        token: Sent as a bearer token, to this host only.
        progress: Called after each piece.
        adapter: Sends the requests, where not every host may be asked.
        instead: What to do where it can't be had, for the messages.

    Returns:
        The SHA-256 of what came.

    Raises:
        FetchError: It isn't there, isn't given out, doesn't come whole, has another hash, or doesn't fit the
            disk.
    """
    transfer = _Transfer(file, url, Path(f"{to}.part"), Path(f"{to}.part.json"), progress, instead=instead)
    with requests.Session() as session:
        session.max_redirects = MAX_REDIRECTS
        if adapter is not None:
            session.mount("http://", adapter)
            session.mount("https://", adapter)
        # What is on the server is wanted byte for byte: a .tgz must not arrive unzipped.
        session.headers["Accept-Encoding"] = "identity"
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        transfer.finish(session)
    sha256 = _check_hash(file, url, transfer.part, instead)
    transfer.part.replace(to)
    transfer.state.unlink(missing_ok=True)
    return sha256


def _check_hash(file: RemoteFile, url: str, part: Path, instead: str) -> str:
    sha256 = _hash_of(part, "sha256")
    # A publisher's MD5 finds damage as well; it is asked only where there is nothing better.
    seen = _hash_of(part, "md5") if file.md5 and not file.sha256 else sha256
    expected = file.sha256 or file.md5
    if expected and seen != expected.lower():
        with part.open("rb") as stream:
            page = " It looks like a web page." if stream.read(64).lstrip().startswith(b"<") else ""
        part.unlink()
        raise FetchError(
            f"{file.name} from {url} has the hash {seen}, not {expected}: it was deleted.{page} {instead}"
        )
    return sha256


def _hash_of(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


@dataclass(slots=True)
class _Transfer:
    file: RemoteFile
    url: str
    part: Path
    state: Path  # which version of the file the part belongs to
    progress: Progress | None
    verify: bool = True
    instead: str = INSTEAD

    def finish(self, session: requests.Session) -> None:
        furthest = self._have()
        in_vain = 0
        while True:
            try:
                return self._attempt(session)
            except _CutError as cut:
                in_vain = 0 if self._have() > furthest else in_vain + 1
                furthest = max(furthest, self._have())
                if in_vain >= ATTEMPTS:
                    raise FetchError(
                        f"{self.file.name} can't be fetched from {self.url}: {cut}. {size_text(furthest)} "
                        f"are kept: the same command goes on from there. {self.instead}"
                    ) from cut
                sleep(min(max(2.0**in_vain - 1, cut.wait_s), MAX_WAIT_S))

    def _attempt(self, session: requests.Session) -> None:
        headers = {}
        have, version = self._have(), self._version()
        if have and version:
            headers = {"Range": f"bytes={have}-", "If-Range": version}
        try:
            with self._get(session, headers) as response:
                self._receive(response, have)
        except failures.TooManyRedirects as error:
            raise FetchError(
                f"{self.url} redirects more than {MAX_REDIRECTS} times, which looks like a loop. "
                f"{self.instead}"
            ) from error
        except PrivateAddressError as error:
            # Without a cause, for it is this file's fault and not the network's.
            raise FetchError(f"{self.url} {error}.") from None
        except (failures.InvalidSchema, failures.InvalidURL, failures.MissingSchema) as error:
            raise FetchError(
                f"{self.url} is, or leads to, an address that is no http or https ({error}). {self.instead}"
            ) from error
        except failures.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise _CutError(str(error)) from error
            self._go_on_without_certificate(session, error)
        except (failures.RequestException, urllib3.exceptions.HTTPError, ssl.SSLError) as error:
            raise _CutError(str(error)) from error
        except OSError as error:
            raise FetchError(
                f"{self.part} can't be written: {error.strerror}. Free some room there."
            ) from error

    def _get(self, session: requests.Session, headers: dict[str, str]) -> requests.Response:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
            return session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT_S, verify=self.verify)

    def _go_on_without_certificate(self, session: requests.Session, error: failures.SSLError) -> None:
        # University servers often send half a certificate chain. A pinned SHA-256 vouches for the bytes
        # whoever sends them; without one, or with a token that a stranger could read, there is no going on.
        if self.file.sha256 is None or "Authorization" in session.headers:
            raise FetchError(
                f"the certificate of {urlsplit(self.url).hostname} can't be verified, and no hash of "
                f"{self.file.name} is known to check it by ({error}). {self.instead}"
            ) from error
        self.verify = False
        raise _CutError("its certificate can't be verified") from error

    def _receive(self, response: requests.Response, have: int) -> None:
        if response.status_code == 416:
            if response.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return  # all of it was here
            self.part.unlink()
            raise _CutError("the server has a shorter file than the part that was kept")
        self._check_status(response)
        if response.status_code == 206:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self.part.unlink()
                raise _CutError("the server sent another piece than the one asked for")
        else:  # from the start: nothing was kept, the file changed, or the server can't resume
            have = 0
            # In this order: killed in between, old bytes must not be taken for the new version's.
            self.part.unlink(missing_ok=True)
            self.state.write_text(json.dumps({"version": _version_of(response)}), encoding="utf-8")
        total = self._total(response, have)
        require_room(self.part.parent, (total or have) - have, self.file.name)
        self._save(response, have, total)

    def _save(self, response: requests.Response, have: int, total: int | None) -> None:
        with self.part.open("ab") as stream:
            # A body that ends before its length is an error of urllib3's.
            for piece in response.raw.stream(CHUNK_BYTES, decode_content=False):
                stream.write(piece)
                have += len(piece)
                if self.progress:
                    self.progress(self.file.name, have, total)

    def _check_status(self, response: requests.Response) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status in (408, 429) or status >= 500:
            wait = response.headers.get("Retry-After", "")
            raise _CutError(
                f"the server answers {status} {response.reason}", float(wait) if wait.isdigit() else 0.0
            )
        why = {
            401: "it wants credentials: set the dataset's token variable, or ask for access",
            403: "it doesn't give the file out: it may want a registration first",
            404: "the file isn't there any more",
            410: "the file isn't there any more",
        }.get(status, "it won't send the file")
        raise FetchError(
            f"{self.file.name} can't be fetched: {self.url} answers {status} {response.reason}; {why}. "
            f"{self.instead}"
        )

    def _total(self, response: requests.Response, have: int) -> int | None:
        length = response.headers.get("Content-Length")
        if length is not None:
            return have + int(length)
        # The end of a chunked body is marked; one that ends with the connection may have been cut anywhere.
        is_marked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if not is_marked and not (self.file.sha256 or self.file.md5):
            raise FetchError(
                f"{self.url} doesn't say how long {self.file.name} is, and no hash of it is known: nothing "
                f"could tell a whole file from half of it. {self.instead}"
            )
        return None

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _version(self) -> str | None:
        try:
            version = json.loads(self.state.read_text(encoding="utf-8"))["version"]
        except (FileNotFoundError, ValueError):
            return None
        return version if isinstance(version, str) else None


def _version_of(response: requests.Response) -> str | None:
    # If-Range takes a strong ETag or a date; a weak ETag (W/"…") doesn't promise the same bytes.
    etag = response.headers.get("ETag", "")
    return etag if re.fullmatch(r'"[^"]*"', etag) else response.headers.get("Last-Modified")
