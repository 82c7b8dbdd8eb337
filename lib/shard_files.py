"""The Parquet file of one shard: how it is written, what its footer says, how damage in it is noticed."""

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.errors import LakeError
from lib.value_pages import FixedColumn, fixed_columns, read_fixed

ROW_GROUP = 2048
# The lake's folder of what was found damaged.
BROKEN = "_broken"
_FINGERPRINT, _FACTS = b"dinolake.fingerprint", b"dinolake.facts"


@dataclass(slots=True)
class Facts:
    """What a stage's shard came to. `made`, `kept`, `rejected` count samples (in `items`: files)."""

    made: int = 0
    kept: int = 0
    rejected: int = 0
    seconds: float = 0.0
    bytes: int = 0
    # item -> why no sample came out of it, or not all
    reasons: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    # What its fingerprint was made of, so that a plan can say what has changed.
    parts: dict[str, str] = field(default_factory=dict)
    # Of the footer's own bytes, which Parquet keeps no checksum of: stands in the ledger alone.
    footer_crc: int = 0

    @property
    def rows(self) -> int:
        """Rows that stand in the file."""
        return self.made + self.kept


class Mark(str):
    """A fingerprint that knows what it was made of: version, parameters, contract, inputs."""

    parts: Mapping[str, str]

    def __new__(cls, mark: str, parts: Mapping[str, str] | None = None) -> "Mark":
        """Args: the fingerprint itself, and its parts by name (copies get theirs afterwards)."""
        made = super().__new__(cls, mark)
        made.parts = parts or {}
        return made


class FooterError(OSError):
    """A footer isn't what was written."""


class ShardWriter:
    """Appends rows to a file that isn't in place yet; memory stays at one row group."""

    def __init__(self, path: Path, schema: pa.Schema, row_group: int = ROW_GROUP):
        self.facts = Facts()
        self._row_group = row_group
        self._path, self._schema = path, schema
        self._began = time.perf_counter()
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(
            # Dictionary off and no compression: measured 5 x faster for vectors, which don't compress. A
            # checksum a page: a flipped bit in a vector would look like any other vector. Nobody asks for
            # the least number of a million vectors: without, they are written 1.8 x faster.
            path, schema, use_dictionary=False, compression="none", write_page_checksum=True,
            write_statistics=[field.name for field in schema if not _is_fixed(field.type)] or False,
        )  # fmt: skip

    def write(self, rows: pa.Table | Mapping[str, Any]) -> None:
        """Append rows, given as a table or as columns."""
        if self._writer is None:
            raise LakeError(f"{self._path.name} is closed already.")
        table = rows if isinstance(rows, pa.Table) else pa.table(dict(rows), schema=self._schema)
        if table.num_rows:
            self._writer.write_table(table.cast(self._schema), row_group_size=self._row_group)

    def close(self, mark: str) -> None:
        """Finish the file; its footer gets the fingerprint and the facts."""
        if self._writer is None:
            return
        self.facts.seconds = self.facts.seconds or round(time.perf_counter() - self._began, 3)
        self.facts.parts = dict(mark.parts) if isinstance(mark, Mark) else {}
        facts = json.dumps(asdict(self.facts))
        self._writer.add_key_value_metadata({_FINGERPRINT.decode(): str(mark), _FACTS.decode(): facts})
        self._writer.close()
        self._writer = None
        self.facts.bytes, self.facts.footer_crc = self._path.stat().st_size, footer_crc(self._path)

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        writer, self._writer = self._writer, None
        if writer is not None:
            # On a full disk its last bytes can't be written; they are thrown away anyhow.
            with suppress(OSError, pa.ArrowException):
                writer.close()


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_fixed_size_binary(kind))


def read_footer(path: Path) -> tuple[str, Facts] | None:
    """Fingerprint and facts out of the file itself; None when there is no (whole) file."""
    if not path.is_file():
        return None
    try:
        metadata = pq.read_metadata(path).metadata or {}
        facts = Facts(**json.loads(metadata[_FACTS]))
        # A footer can't tell its own length, nor its checksum.
        facts.bytes, facts.footer_crc = path.stat().st_size, footer_crc(path)
        return metadata[_FINGERPRINT].decode(), facts
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        return None  # damaged from outside: the shard counts as missing and is made again


class Rows:
    """An open file's rows, every page that is read held against its checksum.

    Vectors and grids are copied out of their pages (`lib.value_pages`), the rest is decoded by Arrow.
    """

    def __init__(self, source: pa.OSFile, file: pq.ParquetFile):
        self._source, self._file = source, file
        self._fixed = fixed_columns(file)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["Rows"]:
        """Open a file.

        Raises:
            OSError: It isn't there, or can't be read.
            pa.ArrowException: It is no Parquet file.
        """
        with pa.OSFile(str(path)) as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
            yield cls(source, file)

    @property
    def groups(self) -> range:
        """Numbers of its row groups."""
        return range(self._file.num_row_groups)

    def read(self, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None) -> pa.Table:
        """Some columns, or all, of some row groups, or all.

        Raises:
            OSError: A page isn't what was written, or can't be read.
            pa.ArrowException: As OSError; or there is no such column.
        """
        schema, groups = self._file.schema_arrow, self.groups if groups is None else groups
        names = schema.names if columns is None else list(columns)
        if unknown := set(names) - set(schema.names):
            raise pa.ArrowInvalid(f"no column {min(unknown)!r}")
        fields = [schema.field(name) for name in names]
        copied = {
            name: found for name in dict.fromkeys(names)
            if (column := self._fixed.get(name)) and (found := self._copied(column, groups)) is not None
        }  # fmt: skip
        decoded = [name for name in dict.fromkeys(names) if name not in copied]
        rest = self._file.read_row_groups(list(groups), columns=decoded) if decoded else None
        columns_ = [copied[name] if name in copied else rest.column(name) for name in names]  # type: ignore[union-attr]
        return pa.table(columns_, schema=pa.schema(fields, schema.metadata))

    def _copied(self, column: FixedColumn, groups: Sequence[int]) -> pa.Array | None:
        return read_fixed(self._file, self._source.fileno(), column, groups)

    def read_where(self, wanted: pc.Expression, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Rows that answer a condition, a row group at a time: large grids never stand together.

        Row groups whose least and greatest values say that no row of theirs does aren't read.

        Raises:
            OSError: As `read`.
            pa.ArrowException: As `read`.
        """
        # Brings pandas with it, which costs a search from a cold shell half a second.
        from pyarrow import dataset

        checked = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        kind = dataset.ParquetFileFormat(default_fragment_scan_options=checked)
        for piece in kind.make_fragment(self._source).split_by_row_group(wanted):
            answers = piece.to_table(columns={"is_wanted": wanted}).column(0)
            if pc.any(answers).as_py():
                rows = self.read(columns, [piece.row_groups[0].id])
                # Taken by number: `filter` goes through a vector number by number.
                at = np.flatnonzero(answers.fill_null(False).to_numpy())
                yield rows if len(at) == rows.num_rows else rows.take(pa.array(at))


def footer_crc(path: Path) -> int:
    """CRC-32 of a Parquet file's footer."""
    with path.open("rb") as file:
        size = file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(size - length, 0))
        return zlib.crc32(file.read(length))


def file_fault(path: Path) -> str:
    """What is wrong with a file, every page of it read and held against its checksum; "" where nothing is."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
    except (pa.ArrowException, OSError) as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return ""


def aside(root: Path, path: Path) -> Path:
    """Move a broken file of a lake out of the way, kept: where it is now."""
    inside = path.relative_to(root)
    target = root / BROKEN / inside
    number = 1
    while target.exists():
        number += 1
        target = root / BROKEN / inside.with_name(f"{inside.stem}-{number}{inside.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return target
