import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from safetensors.torch import save

from lib.embedding.architectures import Vit
from lib.embedding.backbones import choose_default, resolve
from lib.embedding.networks import VitFeatures


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


@pytest.fixture
def hub():
    """A hub that has one repository, with a tiny network under the small one's name."""
    tiny = VitFeatures(Vit(dim=64, depth=1, heads=1, hidden=64), with_bias=False).network.state_dict()
    base = "/timm/vit_small_patch16_dinov3.lvd1689m/resolve/main/"
    files = {
        f"{base}config.json": json.dumps({"architecture": "vit_small_patch16_dinov3"}).encode(),
        f"{base}model.safetensors": save({name: tensor.contiguous() for name, tensor in tiny.items()}),
    }

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("ETag", f'"{len(content or b"")}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(files[self.path])

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_that_answers_gives_dinov3_once_and_for_all(hub, closed_port, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", hub)
    spec, notes = choose_default(device="cpu", timeout_s=30)
    assert spec == "timm:vit_small_patch16_dinov3.lvd1689m"
    assert "fetched" in notes[0]
    assert "DINOv3 License" in notes[1]
    assert resolve(spec).is_dinov3
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port}")
    spec, notes = choose_default(device="cpu")
    assert spec == "timm:vit_small_patch16_dinov3.lvd1689m"
    assert "local Hugging Face cache" in notes[0]
