"""The Hugging Face hub and its cache: what lies here, does the hub answer, fetching; within time limits."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lib.errors import BackboneUnavailableError

_FILES = ("config.json", "model.safetensors")

Answer = TypeVar("Answer")


def cached(repo: str) -> Path | None:
    """The folder of a repository's newest snapshot in the local cache, if its weights are there.

    None too for what no repository can be named.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo, _FILES[1], cache_dir=_cache())
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def why_unreachable(repo: str, *, timeout_s: float) -> str:
    """Why the hub can't give a repository's weights now; "" when it can. Returns within the timeout."""
    if _is_offline():
        return "HF_HUB_OFFLINE forbids asking the hub"
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = _endpoint()
    url = hf_hub_url(repo, _FILES[1], endpoint=endpoint)
    try:
        # The request's own limit is longer, so that the answer is the same whichever step hangs.
        _within(timeout_s, lambda: get_hf_file_metadata(url, timeout=2 * timeout_s, endpoint=endpoint))
    except TimeoutError:
        return f"{endpoint} gave no answer within {timeout_s:g} s"
    except Exception as error:  # noqa: BLE001  name resolution, proxies, TLS, gates: whatever it is, the reason is told
        return f"{endpoint}: {_in_short(error)}"
    return ""


def fetch(repo: str, *, timeout_s: float = 1800.0) -> Path:
    """Bring a repository's weights into the local cache: progress shown, resumed where it stopped.

    Raises:
        BackboneUnavailableError: It failed, or took too long.
    """
    from huggingface_hub import hf_hub_download

    def bring() -> str:
        for name in _FILES:
            last = hf_hub_download(repo, name, cache_dir=_cache(), endpoint=_endpoint())
        return str(last)

    try:
        return Path(_within(timeout_s, bring)).parent
    except Exception as error:  # the hub's errors share no base class
        raise BackboneUnavailableError(
            f"{repo} can't be fetched from {_endpoint()}: {_in_short(error) or f'over {timeout_s:g} s'}. "
            f"Try `hf download {repo}`, or give weights by hf:FOLDER or meta:FILE"
        ) from error


def _within(timeout_s: float, work: Callable[[], Answer]) -> Answer:
    # A thread, because looking up a name has no timeout; a daemon, so that a hung one doesn't hold the exit.
    answers: list[Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(work())
        except Exception as error:  # noqa: BLE001  carried over to the caller
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if answers:
        return answers[0]
    raise errors[0] if errors else TimeoutError()


def _in_short(error: Exception) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    told = next((line for line in str(error).strip().splitlines() if line), "")
    return (
        f"status {status}"
        if status
        else told or ("" if isinstance(error, TimeoutError) else type(error).__name__)
    )


# huggingface_hub reads these once, at import; a setting made later ought to count too.
def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _cache() -> Path:
    if place := os.environ.get("HF_HUB_CACHE"):
        return Path(place).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface" / "hub"


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
