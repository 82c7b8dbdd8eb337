import socket
import time

import pytest

from lib.embedding.backbones import choose_default


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # taken, but nobody listens
        yield held.getsockname()[1]


@pytest.fixture
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, never says a word
        yield server.getsockname()[1]


def test_a_hub_that_refuses_gives_the_packaged_backbone_and_says_why(closed_port, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port}")
    spec, notes = choose_default(device="cpu")
    assert spec == "efficientnet_lite0"
    assert "vit_small_patch16_dinov3" in notes[0]
    assert f"127.0.0.1:{closed_port}" in notes[0]
    assert "not DINOv3" in notes[1]


def test_a_hub_that_never_answers_is_given_up_in_time(silent_port, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent_port}")
    spec, notes = choose_default(device="cpu", timeout_s=0.5)
    assert spec == "efficientnet_lite0"
    assert "no answer within 0.5 s" in notes[0]


def test_a_name_that_never_resolves_is_given_up_in_time(monkeypatch):
    # Name resolution knows no timeout, so this must not depend on the request's own.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(20))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    _, notes = choose_default(device="cpu", timeout_s=0.5)
    assert "no answer within 0.5 s" in notes[0]


def test_offline_mode_is_kept_to(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec, notes = choose_default(device="cpu")
    assert spec == "efficientnet_lite0"
    assert "HF_HUB_OFFLINE" in notes[0]


def test_a_gpu_is_offered_the_large_one(closed_port, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port}")
    assert "vit_large_patch16_dinov3" in choose_default(device="cuda")[1][0]
