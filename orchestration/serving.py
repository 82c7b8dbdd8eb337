"""`dinolake ui`: the Dagster UI on this lake, with its daemon and its code server.

`dagster dev` ends when its daemon dies, and doesn't notice a code server that died: so the code server is
started apart, both are watched, and what died is started again.
"""

import ctypes
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from lib.errors import UsageError
from lib.settings import read_settings
from orchestration.instance import close_orphans, forget_future_ticks, prepare_home

LOCATION = "dinolake"
_LOOK_S, _PATIENCE_S, _LEAVE_S = 2.0, 30.0, 60.0
# A service that dies again this soon is let rest longer, up to a minute.
_HEALTHY_S, _LONGEST_PAUSE_S = 60.0, 60.0
# The clock was set back, not just put right.
_JUMP_S = 30.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Service:
    """A process that is kept running."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    pause_s: float = 1.0
    due: float = field(default=0.0)

    def keep(self, say: Callable[[str], None]) -> bool:
        """Start it if it doesn't run; whether it was started now."""
        if self.process is not None and self.process.poll() is None:
            return False
        now = time.monotonic()
        if self.process is not None:
            code, lived_s = self.process.returncode, now - self.began
            self.pause_s = 1.0 if lived_s > _HEALTHY_S else min(2 * self.pause_s, _LONGEST_PAUSE_S)
            say(f"the {self.name} ended ({_ended(code)}); it is started again in {self.pause_s:.0f} s")
            self.process, self.due = None, now + self.pause_s
        if now < self.due:
            return False
        self.process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
            self.arguments, start_new_session=True, preexec_fn=_as_a_service
        )
        self.began = now
        return True

    def end(self) -> None:
        """Ask it to end, and see that it does."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve_ui(host: str, port: int, *, say: Callable[[str], None]) -> None:
    """Run the UI, the daemon and the code server until Ctrl-C.

    Raises:
        UsageError: Nothing can be served at this address.
    """
    require_free(host, port)
    prepare_home()
    # In the servers that are started too: a line of these for each asset would bury what matters.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    # A backfill waits for a code server that is being started again; left out, it fails.
    os.environ.setdefault("DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR", "1")
    # A large new file is hashed in longer than the minute that Dagster gives a sensor.
    os.environ.setdefault("DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS", "3600")
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dinolake-") as folder:
        address = Path(folder) / "code.sock"
        workspace = Path(folder) / "workspace.yaml"
        # JSON is YAML.
        entry = {"grpc_server": {"socket": str(address), "location_name": LOCATION}}
        workspace.write_text(json.dumps({"load_from": [entry]}), encoding="utf-8")
        python = [sys.executable, "-m", "dagster"]
        code = _Service(
            "code server",
            [*python, "code-server", "start", "--socket", str(address), "--location-name", LOCATION,
             "-m", "orchestration.definitions", "--log-level", "warning"],
        )  # fmt: skip
        pages = _Service(
            "UI with its daemon", [*python, "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
        )
        try:
            _start_code(code, address, say)
            say(f"Dagster UI at http://{host}:{port} (Ctrl-C ends it)")
            _watch(code, pages, address, say)
        except KeyboardInterrupt:
            # Once is enough.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        finally:
            pages.end()
            code.end()


def _watch(code: _Service, pages: _Service, address: Path, say: Callable[[str], None]) -> None:
    catalog = read_settings().catalog
    seen, silent_since, ahead_s = _facts(catalog), 0.0, -math.inf
    while True:
        # At the start too: the clock may have been set back in between.
        before_s, ahead_s = ahead_s, time.time() - time.monotonic()
        if ahead_s < before_s - _JUMP_S or math.isinf(before_s):
            _mend(say)
        _start_code(code, address, say)
        pages.keep(say)
        time.sleep(_LOOK_S)
        if (now := _facts(catalog)) != seen:
            seen = now
            say(f"{catalog} changed: it is read again")
            _reload(address)
        if _answers(address):
            silent_since = 0.0
        elif not silent_since:
            silent_since = time.monotonic()
        else:
            say("the code server's own server is gone: it is started again")
            _reload(address)
            silent_since = 0.0 if _answers(address) else silent_since
            if silent_since and time.monotonic() - silent_since > _PATIENCE_S:
                code.end()


def _mend(say: Callable[[str], None]) -> None:
    with dg.DagsterInstance.get() as instance:
        close_orphans(instance)
        if held := forget_future_ticks(instance):
            say(f"the clock was set back: {held} sensors go on that waited for it")


def _start_code(code: _Service, address: Path, say: Callable[[str], None]) -> None:
    if code.process is None or code.process.poll() is not None:
        address.unlink(missing_ok=True)
    if code.keep(say):
        until = time.monotonic() + _PATIENCE_S
        while not _answers(address) and code.process and code.process.poll() is None:
            if time.monotonic() > until:
                return
            time.sleep(0.2)


def _answers(address: Path) -> bool:
    """Whether the definitions can be asked for; definitions that don't load are an answer too."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    try:
        DagsterGrpcClient(socket=str(address)).list_repositories()
    except DagsterUserCodeUnreachableError:
        return False
    return True


def _reload(address: Path) -> None:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    # Runs go on in the former server until they end. Where that is dead, saying goodbye to it fails, after
    # the new one was started.
    with suppress(DagsterUserCodeUnreachableError):
        DagsterGrpcClient(socket=str(address)).reload_code(timeout=60)


def _facts(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


def _as_a_service() -> None:
    """In the child: it can be told to end, and doesn't outlive a killed `dinolake ui`, holding its port."""
    # Ignored in a shell's background; Dagster takes SIGTERM for it, and would ignore that too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ended(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"status {code}"


def require_free(host: str, port: int) -> None:
    """Refuse an address that can't be served on: Dagster's daemon would go on alone, without a page.

    Raises:
        UsageError: The port is taken or not allowed, or the host isn't this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server binds: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UsageError(
            f"nothing can be served at {host}:{port} ({error.strerror}). If another program has the port, "
            f"`dinolake ui --port {port + 1 if port < 65535 else 3000}` takes another."
        ) from error
