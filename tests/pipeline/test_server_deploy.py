"""What `deploy/compose.yaml` starts, started without containers: on a real Postgres, with the lake on S3."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from place import make_videos
from s3_place import S3Place
from servers import free_port, postgres, s3

BIN = Path(sys.executable).parent
DEPLOY = Path(__file__).parents[2] / "deploy"
SECRETS = ("of-the-test", "secret-of-test")


def services() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_the_web_page_is_on_loopback_alone_and_nothing_else_is_reached_from_outside():
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert list(ports) == ["webserver"]
    assert all(port.startswith("127.0.0.1:") for port in ports["webserver"])


def test_no_secret_stands_in_what_is_deployed():
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in ("PASSWORD", "SECRET", "URL")) and "://" not in str(value)[:5]:
                assert "${" in str(value), name
    told = (DEPLOY / ".env.example").read_text()
    assert "POSTGRES_PASSWORD=\n" in told and "AWS_SECRET_ACCESS_KEY=\n" in told


@contextmanager
def deployed(place: S3Place, postgres_url: str):
    """The code server, the web page and the daemon, each by its own command of the compose file."""
    code, page = free_port(), free_port()
    workspace = place.folder / "workspace.yaml"
    told = (DEPLOY / "workspace.yaml").read_text()
    workspace.write_text(told.replace("host: code", "host: 127.0.0.1").replace("4000", str(code)))
    (place.folder / "dagster").mkdir()
    shutil.copy(DEPLOY / "dagster.yaml", place.folder / "dagster")
    ours = {"/app/deploy/workspace.yaml": str(workspace), "0.0.0.0": "127.0.0.1"}
    ours |= {"4000": str(code), "3000": str(page)}
    shared = {"DINOLAKE_POSTGRES_URL": postgres_url, "PYTHONWARNINGS": "ignore"}
    # Only the code server is told of the lake, the catalog and the keys.
    without = {name: value for name, value in place.env.items() if not name.startswith(("AWS_", "DINOLAKE_"))}
    processes = []

    def start(name: str, env: dict[str, str]) -> None:
        program, *arguments = (ours.get(word, word) for word in services()[name]["command"])
        with (place.folder / f"{name}.log").open("w") as log:
            command = [str(BIN / program), *arguments]
            processes.append(
                subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
            )

    def is_healthy() -> bool:
        _, program, *arguments = services()["code"]["healthcheck"]["test"]
        command = [str(BIN / program), *(ours.get(word, word) for word in arguments)]
        return not subprocess.run(command, env=place.env | shared, capture_output=True).returncode

    try:
        start("code", place.env | shared)
        wait(is_healthy, place)
        start("webserver", without | shared)
        wait(lambda: ask(page, "{ version }"), place)
        start("daemon", without | shared)
        yield page
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def ask(port: int, query: str):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]
    except OSError:
        return None


def wait(condition, place: S3Place, limit_s: float = 280.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        logs = "\n".join(log.read_text()[-2000:] for log in place.folder.glob("*.log"))
        assert time.monotonic() < until, logs
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_videos_dropped_on_a_server_are_in_its_lake_on_s3_by_themselves(tmp_path):
    with s3() as store, postgres() as database:
        place = S3Place(tmp_path, store=store)
        place.give_keys("test")
        place.videos.mkdir()
        make_videos(place.videos, 2)
        place.add(shard_items=1)
        place.edit("is_on = true", "is_on = true\nevery_s = 5")
        with deployed(place, database.url) as page:
            wait(lambda: len(place.committed("clips")) == 2 and place.committed("clip_index"), place)
            runs = ask(page, "{ runsOrError { ... on Runs { results { status } } } }")
            assert {run["status"] for run in runs["runsOrError"]["results"]} <= {
                "SUCCESS",
                "STARTED",
                "QUEUED",
            }
        assert {row["item"] for row in place.rows("clips")} == {"v0", "v1"}
        written = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "credentials"]
        for secret in SECRETS:
            assert not [file for file in written if secret.encode() in file.read_bytes()], secret
