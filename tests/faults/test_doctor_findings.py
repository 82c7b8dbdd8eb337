"""What breaks in a lake is found by the doctor, with its remedy; a repair makes it missing, and keeps it."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from factories import make_video
from test_damaged_lakes import made, without_roots_rights

from lib.catalog import Archive, add_archive
from lib.doctor import examine
from lib.findings import Examination
from lib.lake import Lake, Place
from lib.plan import plan_archive
from lib.sections import EmbeddingConfig
from lib.stages.making import Work


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder with a catalog and a lake in which one archive of two videos stands whole, up to its index."""
    folder = tmp_path_factory.mktemp("sound")
    root = folder / "videos"
    root.mkdir()
    for number in range(2):
        make_video(root / f"v{number}.mp4", seconds=2, seed=number)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    archive = Archive(name="talks", kind="video", root=str(root), embedding=embedding)
    add_archive(folder / "catalog.toml", archive)
    made(Lake(folder / "lake"), archive)
    return folder


class Patient:
    """A copy of it that a test may break."""

    def __init__(self, folder: Path):
        self.folder, self.root = folder, folder / "lake"

    @property
    def lake(self) -> Lake:
        return Lake(self.root)

    @property
    def archive(self) -> Archive:
        from lib.catalog import read_catalog

        return read_catalog(self.folder / "catalog.toml").archives["talks"]

    def file(self, stage: str) -> Path:
        work = Work(self.lake, self.archive)
        return self.lake.path(work.place(stage, "all" if stage in ("clip_index", "centring") else "s00000"))

    def examine(self, **more) -> Examination:
        exam = Examination(self.folder / "catalog.toml", self.root, **more)
        examine(exam)
        return exam

    def errors(self, **more) -> list[str]:
        return [found.what for found in self.examine(**more).findings if found.level == "error"]

    def notes(self, **more) -> list[str]:
        return [found.what for found in self.examine(**more).findings if found.level != "error"]

    def mend(self) -> None:
        """What `dinolake run` does of what was put aside."""
        made(self.lake, self.archive)


@pytest.fixture
def patient(tmp_path, sound) -> Patient:
    shutil.copytree(sound, tmp_path / "copy")
    return Patient(tmp_path / "copy")


def flip(path: Path, at: int | None = None) -> None:
    """One bit, of the last value of the first column where no place is given."""
    if at is None:
        column = pq.read_metadata(path).row_group(0).column(0)
        at = column.data_page_offset + column.total_compressed_size - 1
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def rewrite(path: Path, change) -> None:
    """Other rows under the same footer, as a fault of the code that made them would leave."""
    metadata = pq.read_metadata(path).metadata
    table = change(pq.read_table(path, partitioning=None))
    ours = {k.decode(): v.decode() for k, v in metadata.items() if k.startswith(b"dinolake")}
    with pq.ParquetWriter(path, table.schema, use_dictionary=False, compression="none") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(ours)


def test_a_sound_lake_has_no_error_and_nothing_of_it_is_touched(patient):
    def seen():
        return {
            path.relative_to(patient.root): path.read_bytes()
            for path in patient.root.rglob("*")
            if path.is_file() and "ledger" not in path.name
        }

    before = seen()
    exam = patient.examine()
    assert exam.is_sound and all(found.level == "info" for found in exam.findings), exam.findings
    assert seen() == before


@pytest.mark.parametrize(
    ("stage", "damage"),
    [
        ("clips", "flipped byte"),
        ("items", "cut short"),
        pytest.param("clip_index", "emptied", marks=pytest.mark.slow),
        pytest.param("centring", "cut short", marks=pytest.mark.slow),
        *(
            pytest.param(stage, damage, marks=pytest.mark.slow)
            for stage in ("frames", "frame_embeddings", "items", "clip_index", "centring")
            for damage in ("flipped byte", "garbage")
        ),
    ],
)
def test_a_damaged_file_is_named_put_aside_and_made_again_row_for_row(patient, stage, damage):
    path = patient.file(stage)
    before, whole = path.read_bytes(), pq.read_table(path, partitioning=None)
    if damage == "flipped byte":
        flip(path)
    else:
        path.write_bytes({"cut short": before[:-100], "emptied": b"", "garbage": b"garbage " * 999}[damage])
    broken = path.read_bytes()
    assert [e for e in patient.errors() if str(path) in e]
    exam = patient.examine(is_repairing=True)
    assert exam.is_sound and not path.exists()
    assert [kept.read_bytes() for kept in (patient.root / "_broken").rglob("*.parquet")] == [broken]
    assert plan_archive(Work(patient.lake, patient.archive))[stage].missing == 1
    patient.mend()
    assert pq.read_table(path, partitioning=None).equals(whole) and not patient.errors()


@pytest.mark.slow
def test_a_footer_that_says_other_than_was_noted_of_it_is_damage_too(patient):
    path = patient.file("frames")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"rejected": 0', b'"rejected": 4'))
    assert any("its footer isn't the one that was written" in error for error in patient.errors())
    assert patient.examine(is_repairing=True).is_sound
    patient.mend()
    assert not patient.errors()


def test_a_quick_look_reads_no_page(patient):
    path = patient.file("frame_embeddings")
    flip(path)
    assert patient.errors() and not patient.errors(is_quick=True)


@pytest.mark.slow
def test_a_usable_item_without_a_row_or_a_reason_is_counted(patient):
    path = patient.file("frames")
    rewrite(path, lambda table: table.filter(pc.not_equal(table.column("item"), table.column("item")[0])))
    (error,) = [e for e in patient.errors() if e.startswith("talks/frames/")]
    assert "1 of 2 usable items have no row" in error
    patient.examine(is_repairing=True)
    patient.mend()
    assert not patient.errors()


@pytest.mark.slow
def test_vectors_that_are_not_finite_are_found(patient):
    def spoil(table):
        at = table.column_names.index("cls")
        values = table.column("cls").combine_chunks()
        flat = values.values.to_numpy(zero_copy_only=False).copy()
        flat[0] = np.float16("nan")
        column = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float16()), type=values.type)
        return table.set_column(at, table.schema.field("cls"), column)

    rewrite(patient.file("frame_embeddings"), spoil)
    assert any("not finite" in error for error in patient.errors())


@pytest.mark.parametrize(
    "what",
    [
        "flipped",
        pytest.param("gone", marks=pytest.mark.slow),
        pytest.param("manifest", marks=pytest.mark.slow),
    ],
)
def test_an_index_whose_folder_is_not_what_was_written_is_found_and_made_again(patient, what):
    folder = next(path for path in patient.file("clip_index").parent.iterdir() if path.is_dir())
    if what == "gone":
        shutil.rmtree(folder)
    elif what == "manifest":
        (folder / "index.json").write_text("{}")
    else:
        largest = max((p for p in folder.iterdir() if p.is_file()), key=lambda p: p.stat().st_size)
        flip(largest, largest.stat().st_size // 2)
    assert any("isn't whole" in error for error in patient.errors())
    assert patient.examine(is_repairing=True).is_sound
    patient.mend()
    assert not patient.errors()


def test_rows_that_the_index_lacks_are_found(patient):
    rewrite(patient.file("clip_index"), lambda table: table.slice(1))
    assert any("1 clips aren't in the index" in error for error in patient.errors())


@pytest.mark.slow
def test_a_file_that_is_gone_counts_as_missing_after_a_repair(patient):
    patient.file("clips").unlink()
    assert any("its file is gone" in error for error in patient.errors())
    assert patient.examine(is_repairing=True).is_sound
    assert plan_archive(Work(patient.lake, patient.archive))["clips"].missing == 1


def test_a_damaged_ledger_is_made_again_from_the_files_and_what_was_forgotten_stays_so(patient):
    before = Work(patient.lake, patient.archive).prints.of("items", "s00000")
    patient.lake.ledger.forget("talks", ["d" * 64])
    patient.lake.ledger.vacuum()
    path = patient.root / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'stages'").fetchone()[0]
    connection.close()
    data = bytearray(path.read_bytes())
    data[page * (root - 1) : page * root] = os.urandom(page)
    path.write_bytes(data)
    (error,) = patient.errors()
    assert "ledger" in error and "damaged" in error
    assert patient.examine(is_repairing=True).is_sound and not patient.errors()
    again = Work(patient.lake, patient.archive)
    assert again.prints.of("items", "s00000") == before and again.lake.ledger.forgotten("talks") == {"d" * 64}
    assert not any(plan.due for plan in plan_archive(again).values() if plan.done), "nothing is made twice"
    assert (patient.root / "_broken" / "ledger.sqlite").read_bytes() == bytes(data)


@pytest.mark.slow
def test_a_ledger_of_garbage_beside_a_damaged_items_file_is_rebuilt_and_says_what_it_cannot_know(patient):
    (patient.root / "ledger.sqlite").write_bytes(b"garbage " * 1000)
    flip(patient.root / "talks" / "items" / "s00000.parquet")
    assert len(patient.errors()) == 2
    exam = patient.examine(is_repairing=True)
    assert exam.is_sound and any("to be forgotten" in found.what for found in exam.findings)
    patient.mend()
    assert not patient.errors()


def test_a_quarantined_shard_is_an_error_and_a_repair_lets_it_be_tried_again(patient):
    wanted = Work(patient.lake, patient.archive).prints.of("frames", "s00000")
    for number in range(3):
        patient.lake.ledger.note_failure(
            "talks", "frames", "", "s00000", fingerprint=wanted, reason="the decoder broke", counts=True,
            at=f"2026-01-0{number + 1}T00:00:00+00:00",
        )  # fmt: skip
    (error,) = patient.errors()
    assert "talks/frames/s00000 is quarantined: it failed 3 times" in error and "the decoder broke" in error
    assert patient.examine(is_repairing=True).is_sound and not patient.lake.ledger.failures("talks")


def test_files_of_no_shard_dead_processes_and_unknown_archives_are_named(patient):
    shutil.copy(patient.file("clips"), patient.file("clips").with_name("s00099.parquet"))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = patient.lake.temporary(".parquet")
    left = left.with_name(left.name.replace(str(os.getpid()), str(dead.pid)))
    left.write_bytes(b"half")
    (patient.root / "oldtalks" / "items").mkdir(parents=True)
    told = patient.notes()
    assert any("s00099.parquet" in note and "no item" in note for note in told)
    assert any(left.name in note and "killed" in note for note in told)
    assert any("'oldtalks' is in the lake and not in the catalog" in note for note in told)
    patient.examine(is_repairing=True)
    assert not left.exists() and patient.file("clips").with_name("s00099.parquet").exists()


@pytest.mark.slow
def test_a_report_that_is_no_json_is_found_and_will_be_made_again(patient):
    folder = patient.root / "talks" / "search_report"
    folder.mkdir()
    (folder / "report.html").write_text("<p>")
    (folder / "report.json").write_text('{"metrics": [')
    (folder / "made.json").write_text("{}")
    assert any("report.json can't be read" in error for error in patient.errors())
    assert patient.examine(is_repairing=True).is_sound and not (folder / "made.json").exists()


@pytest.mark.slow
def test_whatever_file_of_a_lake_is_replaced_by_garbage_the_examination_goes_on_to_its_end(patient):
    rng = np.random.default_rng(0)
    files = [path for path in patient.root.rglob("*") if path.is_file() and "_locks" not in path.parts]
    for path in files:
        kept = path.read_bytes()
        path.write_bytes(rng.bytes(max(len(kept) // 2, 64)))
        for beside in (Path(f"{path}-wal"), Path(f"{path}-shm")):
            beside.unlink(missing_ok=True)
        exam = patient.examine()
        if path.suffix in (".parquet", ".sqlite"):
            assert not exam.is_sound, path
        assert not any("Traceback" in found.what or "bug" in found.remedy for found in exam.findings), path
        path.write_bytes(kept)
    assert len(files) > 8 and not patient.errors()


@pytest.mark.slow
def test_a_lake_that_may_only_be_read_is_examined_and_left_alone(patient):
    flip(patient.file("clips"))
    patient.lake.ledger.vacuum()
    for path in sorted(patient.root.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    patient.root.chmod(0o555)
    code = (
        "import sys; from pathlib import Path; from lib.doctor import examine;"
        " from lib.findings import Examination\n"
        "exam = Examination(Path(sys.argv[1]), Path(sys.argv[2]), is_repairing=True)\n"
        "examine(exam)\n"
        "for found in exam.findings: print(found.level, found.what, found.repaired)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(patient.folder / "catalog.toml"), str(patient.root)],
        capture_output=True, text=True, preexec_fn=without_roots_rights,
    )  # fmt: skip
    for path in (patient.root, *patient.root.rglob("*")):
        path.chmod(0o755)
    assert "info this user may only read the lake" in done.stdout, done.stderr
    assert "clips" in done.stdout and "is damaged" in done.stdout and "put aside" not in done.stdout
    assert patient.file("clips").exists() and not (patient.root / "_broken").exists()


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_not_taken_for_damaged(patient):
    path = patient.file("clips")
    path.unlink()
    path.mkdir()
    exam = patient.examine(is_repairing=True)
    assert any("can't be read (Is a directory)" in found.what for found in exam.findings)
    assert path.is_dir() and not (patient.root / "_broken").exists()


@pytest.mark.slow
def test_times_ahead_of_the_clock_are_named(patient):
    os.utime(patient.file("clips"), (time.time() + 7200,) * 2)
    assert any("ahead of this machine's clock" in note for note in patient.notes())


@pytest.mark.slow
def test_a_source_that_is_gone_is_an_error_with_its_folder(patient):
    root = Path(patient.archive.root)
    catalog = patient.folder / "catalog.toml"
    catalog.write_text(catalog.read_text().replace(str(root), str(patient.folder / "unmounted")))
    assert any("unmounted" in error for error in patient.errors())


@pytest.mark.slow
def test_a_place_that_shards_would_be_moved_to_is_never_written_over(patient):
    path = patient.file("clips")
    for _ in range(2):
        flip(path)
        patient.examine(is_repairing=True)
        patient.mend()
    place = Place("talks", "clips", "s00000", path.parent.name)
    kept = sorted(p.name for p in (patient.root / "_broken" / "talks" / "clips" / place.contract).iterdir())
    assert kept == ["s00000-2.parquet", "s00000.parquet"]
