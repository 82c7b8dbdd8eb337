"""Files into one Parquet file: in their order, however they are read, and with a bounded look-ahead."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from factories import make_picture, make_video
from PIL import Image

from lib.embedding.embed import Embedder, Vectors
from lib.embedding.vectors import unit
from lib.media.image import read_image
from lib.media.sampling import Sampling
from lib.media.video import sample_video
from lib.stages import embed_files as module
from lib.stages.embed_files import embed_files


class Means:
    """In an embedder's place: a picture's vector is the mean of its colours."""

    runtime_name = "means"

    class backbone:  # noqa: N801
        name = "means"

    class contract:  # noqa: N801
        cls_dim = 3
        to_json = staticmethod(lambda: "{}")

        class preprocessing:  # noqa: N801
            size_px = 32

    def embed(self, pictures):
        """A batch a picture."""
        for picture in pictures:
            yield Vectors(picture.mean((0, 1))[None].astype(np.float16), np.zeros((1, 0), np.float16))


@pytest.fixture(scope="module")
def lite():
    return Embedder("efficientnet_lite0")


def test_rows_are_each_file_embedded_by_itself_in_the_files_order(tmp_path, lite):
    for number in range(5):
        make_picture(tmp_path / f"{number}.jpg", size=(100 + 40 * number, 90))
    (tmp_path / "2b.jpg").write_bytes(b"no picture")
    make_video(tmp_path / "3b.mp4", seconds=2)
    files = sorted(tmp_path.iterdir())
    made = embed_files(files, tmp_path / "out.parquet", lite, sampling=Sampling())
    frames = list(sample_video(tmp_path / "3b.mp4", Sampling()))
    table = pq.read_table(tmp_path / "out.parquet")
    rows = [(f"{n}.jpg", None) for n in range(4)] + [("3b.mp4", f.t_s) for f in frames] + [("4.jpg", None)]
    assert [(row["path"], row["t_s"]) for row in table.select(["path", "t_s"]).to_pylist()] == [
        (str(tmp_path / name), t_s) for name, t_s in rows
    ]
    pictures = [read_image(tmp_path / f"{n}.jpg") for n in range(4)] + [frame.rgb for frame in frames]
    alone = unit(lite.embed_all([*pictures, read_image(tmp_path / "4.jpg")]).cls)
    assert (np.stack(table.column("vector").to_numpy()) * alone).sum(1).min() > 0.99999
    assert (made.vectors, made.files, list(made.refused)) == (len(rows), 6, [str(tmp_path / "2b.jpg")])


def test_more_rows_than_a_row_group_holds_stay_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 8)
    files = [tmp_path / f"{number:02}.png" for number in range(20)]
    for number, file in enumerate(files):
        pixels = np.full((32, 32, 3), (12 * number, 255 - 12 * number, 90), np.uint8)
        Image.fromarray(pixels).save(file)
    embed_files(files, tmp_path / "out.parquet", Means(), sampling=Sampling())
    written = pq.ParquetFile(tmp_path / "out.parquet")
    assert written.num_row_groups == 3
    colours = np.array([(12 * number, 255 - 12 * number, 90) for number in range(20)], np.float32)
    vectors = np.stack(written.read().column("vector").to_numpy())
    np.testing.assert_allclose(vectors, unit(colours), atol=1e-3)


def test_only_so_many_pictures_are_read_ahead_of_the_network(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(file)
    given = []

    def files():
        for number in range(1000):
            given.append(number)
            yield file

    most = 0

    class Slow(Means):
        def embed(self, pictures):
            nonlocal most
            for taken, vectors in enumerate(super().embed(pictures)):
                most = max(most, len(given) - taken)
                yield vectors

    made = embed_files(files(), tmp_path / "out.parquet", Slow(), sampling=Sampling())
    assert made.vectors == 1000
    assert most <= module._AHEAD
