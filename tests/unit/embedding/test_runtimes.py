import json
import subprocess
import sys

import numpy as np
import pytest

from lib.embedding import openvino_runtime, runtimes
from lib.embedding.backbones import contract_of, resolve
from lib.embedding.pictures import seeded_pictures, squash
from lib.embedding.runtimes import open_runtime
from lib.embedding.vectors import unit
from lib.errors import UnreadableMediaError, UsageError

TINY = "random:vit_64x2_patch16_dinov3"


def opened(spec=TINY, *, size_px=64, pooling=("cls", "patch_mean"), **options):
    return open_runtime(resolve(spec), contract_of(spec, size_px=size_px, pooling=pooling), **options)


def vectors(runtime, pictures):
    return [np.concatenate(parts) for parts in zip(*runtime.run(pictures), strict=True)]


def cosines(ours, theirs):
    return (unit(ours) * unit(theirs)).sum(-1)


@pytest.fixture(scope="module")
def pictures():
    return list(seeded_pictures(11, 64))


@pytest.mark.parametrize(("kind", "batch"), [("openvino", None), ("openvino", 1), ("torch", None)])
@pytest.mark.parametrize("count", [3, 4, 11])
def test_vectors_come_in_the_pictures_order_whatever_is_left_for_the_last_batch(kind, batch, count, pictures):
    runtime = opened(kind=kind, batch=batch)
    alone = [vectors(runtime, [picture])[0][0] for picture in pictures[:count]]
    together = vectors(runtime, pictures[:count])[0]
    assert len(together) == count
    similar = cosines(together[:, None], np.array(alone)[None])
    assert similar.argmax(1).tolist() == list(range(count))
    assert similar.diagonal().min() > 0.9999


def test_the_packaged_backbone_gives_openvino_the_vectors_of_eager_torch():
    runtime, eager = (
        opened("efficientnet_lite0", size_px=224),
        opened("efficientnet_lite0", size_px=224, kind="torch"),
    )
    assert runtime.name.startswith("OpenVINO")
    # Not the seeded pictures, on which the precision was chosen.
    pictures = np.random.default_rng(1).integers(0, 256, (5, 12, 16, 3), dtype=np.uint8)
    for ours, exact in zip(vectors(runtime, pictures), vectors(eager, pictures), strict=True):
        assert cosines(ours, exact).min() >= 0.999


def test_a_runtime_whose_vectors_are_not_the_backbones_own_is_not_used(own_caches):
    seeded = f"{TINY}?seed=2"
    opened(seeded)
    (kept,) = (own_caches / "dinolake" / "openvino").glob(
        f"{contract_of(seeded, size_px=64).id}*/cosines.json"
    )
    measured = json.loads(kept.read_text())
    kept.write_text(json.dumps({cpu: {"bf16": 0.9, "f32": 0.99} for cpu in measured}))
    runtime = opened(seeded)
    assert runtime.name.startswith("torch")
    assert "0.9900" in runtime.note
    kept.write_text(json.dumps({cpu: {"bf16": 0.9, "f32": 0.99999} for cpu in measured}))
    runtime = opened(seeded)
    assert runtime.name.startswith("OpenVINO")
    assert "f32" in runtime.name


def test_the_least_similar_vector_decides(pictures):
    runtime = opened(kind="torch")
    reference = vectors(runtime, seeded_pictures(8, 64))
    assert runtimes.cosine_to(reference, runtime) == pytest.approx(1)
    reference[1][3] *= -1
    assert runtimes.cosine_to(reference, runtime) == pytest.approx(-1)


def test_openvino_that_fails_leaves_the_work_to_torch_and_says_so(monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("no such layer\nand more")

    monkeypatch.setattr(openvino_runtime, "opened", fails)
    runtime = opened()
    assert runtime.name.startswith("torch")
    assert "no such layer" in runtime.note


def test_a_process_that_finds_the_converted_network_needs_no_torch_and_reports_to_nobody():
    opened()
    code = (
        "import sys; from lib.embedding.embed import Embedder; import numpy as np;"
        f"e = Embedder({TINY!r}, size_px=64); e.embed_all([np.zeros((9, 9, 3), np.uint8)]);"
        "print(e.runtime_name);"
        "print([m for m in ('torch', 'timm', 'openvino_telemetry') if sys.modules.get(m)])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("OpenVINO")
    assert told.split("\n")[1] == "[]"


def test_a_damaged_converted_network_is_converted_again(own_caches, pictures):
    seeded = f"{TINY}?seed=3"
    before = vectors(opened(seeded), pictures)[0]
    (kept,) = (own_caches / "dinolake" / "openvino").glob(f"{contract_of(seeded, size_px=64).id}*/model.xml")
    kept.write_text("<net")
    np.testing.assert_array_equal(vectors(opened(seeded), pictures)[0], before)


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_an_endless_iterator_is_read_only_a_few_batches_ahead(kind, pictures):
    runtime, taken, given, ahead = opened(kind=kind, threads=2), 0, 0, 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield pictures[taken % len(pictures)]

    stream = runtime.run(endless())
    for _ in range(20):
        given += len(next(stream)[0])
        ahead = max(ahead, taken - given)
    stream.close()
    assert ahead <= 3 * 4
    # A stream that was left early leaves nothing behind for the next one.
    assert (
        cosines(vectors(runtime, pictures[:1])[0], vectors(opened(kind=kind), pictures[:1])[0]).min() > 0.9999
    )


def test_a_runtime_takes_one_stream_at_a_time(pictures):
    runtime = opened()
    first = runtime.run(pictures)
    next(first)
    with pytest.raises(UsageError, match="busy"):
        next(runtime.run(pictures))


def test_a_picture_is_resized_as_an_average_over_all_its_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (90, 50, 3), dtype=np.uint8)
    np.testing.assert_allclose(squash(picture, 20), triangle_filter(picture, 20), atol=1.01)


def triangle_filter(picture, side):
    """Bilinear with antialiasing, written out: triangles as wide as the reduction, over both axes."""
    result = picture.astype(float)
    for axis in (0, 1):
        length = result.shape[axis]
        scale = length / side
        rows = []
        for place in range(side):
            centre = (place + 0.5) * scale
            weights = np.clip(1 - np.abs(np.arange(length) + 0.5 - centre) / max(scale, 1), 0, None)
            rows.append(np.tensordot(weights / weights.sum(), result, (0, axis)))
        result = np.stack(rows, axis)
    return result


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "channels first", "float", "empty"],
)
def test_what_is_no_picture_is_refused_with_its_shape(picture):
    with pytest.raises(UnreadableMediaError, match=r"height, width, 3"):
        squash(picture, 4)
