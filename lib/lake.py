"""The lake: one Parquet file a shard and stage, moved into place whole, with its fingerprint in the footer.

A reader sees the old file or the new one, never half of one.
"""

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from lib.conditions import matching
from lib.errors import DamagedShardError, LakeError
from lib.ledger import Ledger, LedgerItem
from lib.processes import is_alive
from lib.remembered import remembered, take_over
from lib.shard_files import (
    ROW_GROUP,
    Facts,
    FooterError,
    Mark,
    Rows,
    ShardWriter,
    aside,
    file_fault,
    footer_crc,
    read_footer,
)  # fmt: skip
from lib.whole_files import remove_whole, sync, write_whole

if TYPE_CHECKING:
    from lib.working_copy import WorkingCopy

__all__ = [
    "ROW_GROUP",
    "WHOLE",
    "Facts",
    "Lake",
    "Mark",
    "Place",
    "ShardWriter",
    "fingerprint",
    "write_whole",
]

WHOLE = "all"  # the shard name of stages that are made in one piece
_counter_lock, _counter = threading.Lock(), iter(range(1 << 62))


@dataclass(frozen=True, slots=True)
class Place:
    """One shard of one stage of one archive; stages that hold vectors have a contract."""

    archive: str
    stage: str
    shard: str = WHOLE
    contract: str = ""


def fingerprint(*parts: Any) -> str:
    """A hash of JSON-able parts; the same parts always give the same one."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Lake:
    """Reads and commits shards under one root folder, which may be this machine's copy of a lake on S3.

    Args:
        root: A folder, or `s3://bucket/prefix`.
    """

    def __init__(self, root: str | Path):
        # Of a lake in a folder nothing of this is so much as imported.
        self._copy: WorkingCopy | None = None
        self.root, fetched = Path(root).absolute(), list[str]()
        if "://" in str(root):
            from lib.working_copy import working_copy

            self._copy = working_copy(str(root))
            self.root, fetched = self._copy.folder, self._copy.pull()
        self.ledger = Ledger(self.root / "ledger.sqlite", self._remembered)
        if self._copy and fetched:
            take_over(self.ledger, fetched, self._remembered)
            self._copy.heed(fetched)

    # -- places ------------------------------------------------------------------------------------------

    def folder(self, archive: str, stage: str, contract: str = "") -> Path:
        """The folder of a stage's files."""
        return self.root / archive / stage / contract if contract else self.root / archive / stage

    def path(self, place: Place) -> Path:
        """The Parquet file of a shard."""
        return self.folder(place.archive, place.stage, place.contract) / f"{place.shard}.parquet"

    def contracts(self, archive: str, stage: str) -> list[str]:
        """Ids of the contracts that a stage was made under."""
        folder = self.folder(archive, stage)
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []

    # -- what is done ------------------------------------------------------------------------------------

    def done(self, place: Place, wanted: str) -> Facts | None:
        """The facts of a committed shard whose fingerprint is the wanted one; None when it has to be made.

        The ledger answers first; where it disagrees, the file's footer is the truth: a process may have died
        between the move and the note, and a file of another size than was noted isn't the one that was made.
        """
        known = self.ledger.stage(place.archive, place.stage, place.contract, shard=place.shard)
        noted, facts = known.get(place.shard, ("", {}))
        if noted == wanted and facts.get("bytes") == _size(self.path(place)):
            return Facts(**facts)
        footer = self.footer(place)
        if footer is None or footer[0] != wanted:
            return None
        if not self.ledger.is_read_only:
            self._note(place, *footer)
        return footer[1]

    def footer(self, place: Place) -> tuple[str, Facts] | None:
        """Fingerprint and facts out of the file itself; None when there is no (whole) file."""
        return read_footer(self.path(place))

    def standing(self, archive: str, stage: str, contract: str = "") -> dict[str, tuple[str, Facts] | None]:
        """Shard -> fingerprint and facts of every file of a stage; None for one that is damaged.

        One query and one look at the folder, whatever the number of shards: a footer is opened only where
        the ledger doesn't know a file of that size.
        """
        noted = self.ledger.stage(archive, stage, contract)
        found: dict[str, tuple[str, Facts] | None] = {}
        with suppress(FileNotFoundError), os.scandir(self.folder(archive, stage, contract)) as entries:
            for entry in entries:
                shard, ending, rest = entry.name.rpartition(".parquet")
                if not ending or rest:
                    continue
                mark, facts = noted.get(shard, ("", {}))
                if facts and facts.get("bytes") == entry.stat().st_size:
                    found[shard] = mark, Facts(**facts)
                else:
                    found[shard] = self.footer(Place(archive, stage, shard, contract))
        return found

    def _remembered(self, archive: str = "[a-z]*") -> Iterator[tuple[str, LedgerItem]]:
        for folder in sorted(self.root.glob(f"{archive}/items")):
            name = folder.parent.name
            for file in filter(file_fault, folder.glob("*.parquet")):
                aside(self.root, file)  # its sources are looked at again, and its shard is made again
            shards = sorted(file.stem for file in folder.glob("*.parquet"))
            # Not by `read`: that asks the ledger, which is being made of this.
            files = (folder / f"{shard}.parquet" for shard in shards)
            rows = zip(shards, (pq.read_table(f, partitioning=None).to_pylist() for f in files), strict=True)
            yield from ((name, item) for item in remembered(rows))

    def _note(self, place: Place, mark: str, facts: Facts) -> None:
        self.ledger.write_stage(
            place.archive, place.stage, place.contract, place.shard, fingerprint=mark, facts=asdict(facts)
        )

    # -- writing -----------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, place: Place) -> Iterator[None]:
        """One maker a shard and stage; the kernel drops it when its holder is killed.

        Raises:
            LakeError: This user may only read the lake.
        """
        self.ledger.require_writable()
        folder = self.root / "_locks"
        folder.mkdir(parents=True, exist_ok=True)
        name = ".".join(filter(None, (place.archive, place.stage, place.contract, place.shard)))
        with FileLock(folder / f"{name}.lock"):
            if self._copy is None:
                yield
                return
            self._copy.begin(place.archive, place.stage)
            try:
                yield
            finally:
                self._copy.end(place.archive, place.stage)

    @contextmanager
    def writing(
        self, place: Place, schema: pa.Schema, mark: str, *, row_group: int = ROW_GROUP
    ) -> Iterator["ShardWriter"]:
        """Write a shard in a temporary file; when the block ends well, move it into place and note it."""
        final = self.path(place)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = self.temporary(".parquet")
        writer: ShardWriter | None = None
        try:
            # Within: on a full disk a file is there before its first bytes can't be written.
            writer = ShardWriter(partial, schema, row_group)
            yield writer
            writer.close(mark)
            sync(partial)
            if self._copy:
                self._copy.commit(partial, final)
            else:
                partial.replace(final)
            sync(final.parent)
        finally:
            if writer is not None:
                writer.abandon()
            partial.unlink(missing_ok=True)
        self._note(place, mark, writer.facts)

    def drop_shard(self, archive: str, shard: str) -> None:
        """Remove a shard's files in every stage: its items went to another one."""
        for file in (self.root / archive).glob(f"**/{shard}.parquet"):
            self.remove(file)
        self.ledger.drop_shards(archive, [shard])

    def remove(self, path: Path) -> None:
        """Remove a file of the lake, or a folder with all in it; of a lake on S3, from the store too."""
        self._copy.remove(path) if self._copy else remove_whole(path)

    def temporary(self, suffix: str) -> Path:
        """A name in the lake's `_tmp` folder that says whose it is, so that a dead process's can be swept."""
        folder = self.root / "_tmp"
        folder.mkdir(parents=True, exist_ok=True)
        with _counter_lock:
            number = next(_counter)
        return folder / f"{socket.gethostname()}-{os.getpid()}-{number}{suffix}"

    def sweep(self) -> int:
        """Remove what killed processes of this machine left in `_tmp`; the number of entries removed."""
        removed = 0
        for entry in (self.root / "_tmp").glob(f"{socket.gethostname()}-*"):
            pid = entry.name.removeprefix(f"{socket.gethostname()}-").split("-")[0]
            if pid.isdigit() and not is_alive(int(pid)):
                remove_whole(entry)
                removed += 1
        return removed

    # -- reading -----------------------------------------------------------------------------------------

    def read(
        self, place: Place, columns: Sequence[str] | None = None, wanted: pc.Expression | None = None
    ) -> pa.Table:
        """One shard's rows, or those that answer a condition.

        Raises:
            LakeError: The file is missing or damaged.
        """
        try:
            self._check_footer(place)
            with Rows.open(self.path(place)) as rows:
                if wanted is None:
                    return rows.read(columns)
                found = list(rows.read_where(wanted, columns))
                return pa.concat_tables(found) if found else rows.read(columns, [])
        except FileNotFoundError as error:
            raise LakeError(
                f"{place.archive}/{place.stage}/{place.shard} isn't in the lake. "
                f"`dinolake run {place.archive}` makes it."
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(place, error) from error

    def blocks(
        self, place: Place, wanted: pc.Expression | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """Rows of a shard that answer a condition, a row group at a time: large grids never stand together.

        Raises:
            LakeError: The file is missing or damaged.
        """
        try:
            self._check_footer(place)
            with Rows.open(self.path(place)) as rows:
                if wanted is not None:
                    yield from rows.read_where(wanted, columns)
                else:
                    yield from (rows.read(columns, [group]) for group in rows.groups)
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(place, error) from error

    def _check_footer(self, place: Place) -> None:
        """Parquet keeps no checksum of a footer, which tells where pages are: the ledger has one.

        Raises:
            FooterError: It isn't what was written.
        """
        path = self.path(place)
        # A writer moves its file into place, and notes it just after.
        for pause_s in (0.0, 0.05, 0.5):
            time.sleep(pause_s)
            noted = self.ledger.stage(place.archive, place.stage, place.contract, shard=place.shard)
            mark, facts = noted.get(place.shard, ("", {}))
            if not facts.get("footer_crc") or facts["bytes"] != path.stat().st_size:
                return
            if facts["footer_crc"] == footer_crc(path):
                return
            # Of a writer that was killed before its note: another file, not a damaged one.
            if (footer := read_footer(path)) and footer[0] != mark:
                return
        raise FooterError("its footer isn't what was written")

    def damaged(self, place: Place, error: Exception) -> LakeError:
        """What to raise for a file that can't be read: put aside, it is made again by the next run."""
        path = self.path(place)
        if isinstance(error, OSError) and error.errno is not None:
            # The disk said no, not the file.
            return LakeError(f"{path} can't be read ({error.strerror}). See to its disk and its permissions.")
        if fault := str(error) if isinstance(error, FooterError) else file_fault(path):
            told = f"{path} is damaged ({fault})."
        else:
            return LakeError(f"{path} doesn't hold what was asked of it ({error}).")
        if self.ledger.is_read_only:
            return DamagedShardError(f"{told} `dinolake run {place.archive}` by its owner makes it again.")
        with suppress(OSError):  # another reader was quicker
            aside(self.root, path)
        if self._copy:
            self._copy.remove(path)
        self.ledger.drop_stage(place.archive, place.stage, place.contract, place.shard)
        return DamagedShardError(f"{told} It was put aside; `dinolake run {place.archive}` makes it again.")

    def matching(self, table: pa.Table, where: str) -> np.ndarray:
        """Row mask of an SQL condition over a table's columns: see `lib.conditions`.

        Raises:
            QueryError: The condition is no SQL, or names a column that isn't there.
        """
        return matching(table, where)


def _size(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return None
