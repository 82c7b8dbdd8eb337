"""Vectors copied straight out of Parquet's pages are those that Arrow decodes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lib import schemas
from lib.columns import bytes_column, vectors_column
from lib.lake import Lake, Place
from lib.shard_files import Rows
from lib.value_pages import crc32, fixed_columns, read_fixed

ROWS, DIM = 5000, 384  # three row groups, and more than one page in each
SCHEMA = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("cls", schemas.vector(DIM), nullable=False),
        pa.field("mean", schemas.vector32(4), nullable=False),
        pa.field("grid", pa.binary(24), nullable=False),
        pa.field("spans", pa.list_(pa.struct([("start_s", pa.float64())]))),
        pa.field("doubted", schemas.vector(2)),
    ],
    {"told": "by hand"},
)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    draw = np.random.default_rng(0)
    columns = {
        "sample": [f"v{number:05d}#t={number / 2}" for number in range(ROWS)],
        "cls": vectors_column(draw.standard_normal((ROWS, DIM), np.float32)),
        "mean": vectors_column(draw.standard_normal((ROWS, 4), np.float32), np.float32),
        "grid": bytes_column(draw.integers(0, 256, (ROWS, 24), np.uint8)),
        "spans": [[{"start_s": 1.0}] * (number % 3) for number in range(ROWS)],
        "doubted": pa.array([[n, 1] for n in range(ROWS)], schemas.vector(2)),
    }
    return pa.table(columns, schema=SCHEMA)


@pytest.fixture
def committed(tmp_path, table):
    lake, place = Lake(tmp_path), Place("a", "frame_embeddings", "s00000", "c")
    with lake.writing(place, SCHEMA, "mark") as writer:
        writer.write(table)
        writer.facts.made = ROWS
    return lake, place


def test_what_is_copied_out_of_pages_is_what_arrow_decodes(committed):
    lake, place = committed
    decoded = pq.read_table(lake.path(place), partitioning=None)
    assert lake.read(place).equals(decoded, check_metadata=True)
    assert pa.concat_tables(lake.blocks(place)).equals(decoded)
    with Rows.open(lake.path(place)) as rows:
        assert (
            rows.read(["grid", "cls"], [2, 0]).column("cls").to_pylist()[:904]
            == (decoded.column("cls").to_pylist()[4096:])
        )


def test_vectors_of_the_lake_are_copied_and_not_decoded(committed):
    lake, place = committed
    with pa.OSFile(str(lake.path(place))) as source, pq.ParquetFile(source) as file:
        columns = fixed_columns(file)
        assert set(columns) == {"cls", "mean", "grid"}
        for column in columns.values():
            assert len(read_fixed(file, source.fileno(), column, range(file.num_row_groups))) == ROWS


@pytest.mark.parametrize(
    "written",
    [{"compression": "zstd"}, {"use_dictionary": True}, {"data_page_version": "2.0"}, {"store_schema": True}],
)
def test_files_that_others_wrote_are_read_too(tmp_path, table, written):
    pq.write_table(table, tmp_path / "their.parquet", row_group_size=2000, **written)
    with Rows.open(tmp_path / "their.parquet") as rows:
        assert rows.read().equals(table)


def test_a_condition_finds_the_rows_that_it_finds_in_memory(committed, table):
    lake, place = committed
    wanted = pc.field("sample").isin(["v00003#t=1.5", "v04999#t=2499.5"])
    assert lake.read(place, ["cls", "sample"], wanted).equals(table.select(["cls", "sample"]).filter(wanted))
    assert lake.read(place, ["cls"], pc.field("sample") == "none such").num_rows == 0


def test_no_flipped_bit_of_a_vectors_page_passes(tmp_path, table):
    path = tmp_path / "shard.parquet"
    pq.write_table(
        table.select(["cls"]), path, use_dictionary=False, compression="none", write_page_checksum=True
    )
    whole = path.read_bytes()
    chunk = pq.read_metadata(path).row_group(0).column(0)
    first = chunk.data_page_offset
    passed = []
    for at in [*range(first, first + 80), first + 5000, first + chunk.total_compressed_size - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            with Rows.open(path) as rows:
                if not rows.read().equals(table.select(["cls"])):
                    passed.append(at - first)
        except (OSError, pa.ArrowException):
            continue
    assert not passed


def test_the_quick_checksum_is_that_of_parquet():
    assert crc32(b"123456789") == 0xCBF43926
