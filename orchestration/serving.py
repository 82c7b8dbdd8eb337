"""`dinolake ui`: the Dagster UI on this lake, with its daemon."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lib.errors import UsageError
from lib.settings import project_root
from orchestration.instance import prepare_home


def serve_ui(host: str, port: int, *, say: Callable[[str], None]) -> NoReturn:
    """Become `dagster dev`.

    Raises:
        UsageError: Nothing can be served at this address.
    """
    require_free(host, port)
    prepare_home()
    # In the servers that it starts too: a line of these for each asset would bury what matters.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    say(f"Dagster UI at http://{host}:{port} (Ctrl-C ends it)")
    program = Path(sys.executable).with_name("dagster")
    arguments = ["dev", "-w", str(project_root() / "workspace.yaml"), "-h", host, "-p", str(port)]
    os.execv(program, [str(program), *arguments])  # noqa: S606 - no shell


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
