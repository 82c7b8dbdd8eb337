"""Real servers for tests: Postgres, S3 (moto's), Ray nodes. Each skips where its program is absent."""

import contextlib
import getpass
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Debian puts the server's programs beside the path, one folder a version.
_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    """Look again and again until it is so."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.05)


@dataclass
class Postgres:
    """A server of a test's own, with one empty database."""

    folder: Path
    port: int
    user: str
    password: str = "of-the-test"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://{self.user}:{self.password}@127.0.0.1:{self.port}/dagster"

    def call(self, program: str, *arguments: str) -> None:
        """Run one of Postgres's programs as its own user, which isn't root."""
        command = [str(_program(program)), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *command]
        env = os.environ | {"PGPASSWORD": self.password, "LC_ALL": "C"}
        subprocess.run(command, check=True, env=env, cwd="/", timeout=60, **_QUIET)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self.call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def restart(self) -> None:
        """As after a crash: every connection is cut, and the server replays its log before it answers."""
        self.call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "restart")

    def stop(self) -> None:
        """At once, as a crash does; nothing where it is down already."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")


def _program(name: str) -> Path:
    return _POSTGRES[-1] / name


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A running Postgres, gone with the block."""
    if not _POSTGRES:
        pytest.skip("no Postgres server here: apt-get install postgresql")
    if importlib.util.find_spec("dagster_postgres") is None:
        pytest.skip("no dagster-postgres here: pip install 'dinolake[server]'")
    user = getpass.getuser()
    if os.geteuid() == 0:
        user = "postgres"
        if shutil.which("setpriv") is None or user not in {known.pw_name for known in pwd.getpwall()}:
            pytest.skip("Postgres refuses to run as root, and there is no user `postgres` to run it as")
    # Short: a socket's path ends at 107 characters. And outside the tests' folders, which are root's alone.
    home = Path(tempfile.mkdtemp(prefix="dlpg-"))
    server = Postgres(home, free_port(), user)
    try:
        if os.geteuid() == 0:
            shutil.chown(home, user, user)
        secret = home / "password"
        secret.write_text(server.password)
        secret.chmod(0o644)
        server.call(
            "initdb", "-D", str(home / "data"), "-U", user, "-A", "scram-sha-256", f"--pwfile={secret}", "-N"
        )
        server.start()
        try:
            server.call("createdb", "-h", "127.0.0.1", "-p", str(server.port), "-U", user, "dagster")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)


@dataclass
class RayNode:
    """One node of a local cluster: its raylet, its workers and, on the head, what the cluster knows."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """All its processes at once, as when a machine goes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class RayCluster:
    """A cluster of nodes on this machine; the first is its head."""

    address: str
    nodes: list[RayNode]


@contextlib.contextmanager
def ray_cluster(*cpus: int) -> Iterator[RayCluster]:
    """A cluster with a node for each number of CPUs. RAY_AUTH_MODE=disabled has to be set by the test."""
    program = Path(sys.executable).with_name("ray")
    if not program.exists():
        pytest.skip("no Ray beside this Python")
    port = free_port()
    started = RayCluster(f"127.0.0.1:{port}", [])
    head = ["--head", f"--port={port}", "--include-dashboard=false"]
    try:
        for number, count in enumerate(cpus):
            role = [f"--address={started.address}"] if number else head
            sizes = [f"--num-cpus={count}", "--object-store-memory=100000000"]
            # A session of its own, so that all that belongs to the node can be killed by one number.
            process = subprocess.Popen(
                [program, "start", *role, *sizes, "--block"], start_new_session=True, **_QUIET
            )
            started.nodes.append(RayNode(process))
            wait_until(lambda number=number: _nodes_up(started.address) > number, "a Ray node", 120)
        yield started
    finally:
        for node in reversed(started.nodes):
            node.kill()


def _nodes_up(address: str) -> int:
    from ray._raylet import GcsClient

    if not answers(int(address.rpartition(":")[2])):
        return 0
    try:
        known = GcsClient(address=address).get_all_node_info().values()
    except Exception:  # noqa: BLE001 - it answers a moment before it can be asked
        return 0
    return sum(node.state == 0 for node in known)


@dataclass
class S3:
    """A store of a test's own, with one empty bucket, `lake`."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self):
        """To look at it from outside, past whatever stands in front."""
        import boto3

        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def objects(self) -> dict[str, str]:
        """Every object's version, by key."""
        told = self.client().get_paginator("list_objects_v2").paginate(Bucket="lake")
        return {each["Key"]: each["ETag"] for page in told for each in page.get("Contents", [])}


@contextlib.contextmanager
def s3() -> Iterator[S3]:
    """A running S3 store (moto's), gone with the block."""
    program = Path(sys.executable).with_name("moto_server")
    if not program.exists() or importlib.util.find_spec("s3fs") is None:
        pytest.skip("no moto server or no s3fs beside this Python: pip install 'dinolake[dev,server]'")
    store = S3(free_port())
    process = subprocess.Popen([program, "-p", str(store.port)], **_QUIET)
    try:
        wait_until(lambda: answers(store.port), "moto's server")
        store.client().create_bucket(Bucket="lake")
        yield store
    finally:
        process.terminate()
        process.wait()
