"""An existing Ray cluster, by its address: used, and left running."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from place import Place, make_videos


@pytest.mark.slow
def test_a_run_uses_the_cluster_it_is_given_and_leaves_it_up(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("ray")
    arguments = ["start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    head = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and not _answers(port):
            time.sleep(0.5)
        time.sleep(5)  # the node registers a moment after its port answers
        place = Place(tmp_path)
        make_videos(place.videos, 2)
        place.add()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        assert place.run("frame_embeddings")["frame_embeddings"]["made"] == 6
        assert head.poll() is None and _answers(port)
    finally:
        os.kill(head.pid, signal.SIGTERM)
        head.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
