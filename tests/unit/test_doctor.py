"""What the doctor says of what is around a lake; names are only names; secrets are told by nobody."""

import json
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest
from factories import make_video
from place import Place

from lib.catalog import Archive, add_archive, check_name, read_catalog
from lib.doctor import examine
from lib.errors import CatalogError, UsageError
from lib.findings import Examination
from lib.health import make_health
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stages.items import OK, make_items
from lib.stages.making import Work
from lib.stages.sources import register

NASTY = [
    "'; DROP TABLE items; --.mp4",
    "\"; ATTACH 'x.db' AS y; --.mp4",
    "$(touch pwned).mp4",
    "`touch pwned`.mp4",
    "; touch pwned;.mp4",
    "| touch pwned.mp4",
    "-rf.mp4",
    "--where.mp4",
    "{{7*7}}{% raw %}.mp4",
    "%s%n{0}.mp4",
    "*[a-z]?.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "new\nline.mp4",
    "C:\\windows\\..\\x.mp4",
    "..mp4.mp4",
    "ünï — 名.mp4",
]
SECRETS = {
    name: f"planted-{number}-secret"
    for number, name in enumerate(
        [
            "HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
            "DINOLAKE_ALERT_WEBHOOK", "DINOLAKE_ALERT_SMTP_PASSWORD", "DINOLAKE_ALERT_SMTP_USER",
            "PHYSIONET_TOKEN", "DATABASE_PASSWORD",
        ]
    )
}  # fmt: skip


def archive_of(folder: Path, **more) -> Archive:
    folder.mkdir(parents=True, exist_ok=True)
    told = {"root": str(folder), "embedding": EmbeddingConfig(backbone="efficientnet_lite0")} | more
    return Archive(name="talks", kind="video", **told)


def examined(tmp_path: Path, *archives: Archive, **more) -> Examination:
    for archive in archives:
        add_archive(tmp_path / "catalog.toml", archive)
    exam = Examination(tmp_path / "catalog.toml", tmp_path / "lake", **more)
    examine(exam)
    return exam


def told(exam: Examination, level: str) -> list[tuple[str, str]]:
    return [(found.what, found.remedy) for found in exam.findings if found.level == level]


def test_a_catalog_that_is_no_toml_is_a_finding_and_the_lake_is_examined_all_the_same(tmp_path):
    Lake(tmp_path / "lake")
    (tmp_path / "lake" / "ledger.sqlite").write_bytes(b"garbage" * 999)
    (tmp_path / "catalog.toml").write_text("[archives.talks\n")
    errors = told(examined(tmp_path), "error")
    assert any("is no TOML" in what for what, _ in errors)
    assert any("ledger" in what and "doctor --repair" in remedy for what, remedy in errors)


def test_weights_that_are_not_here_are_an_error_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    spec = "timm:vit_small_patch16_dinov3.lvd1689m"
    archive = archive_of(tmp_path / "videos", embedding=EmbeddingConfig(backbone=spec))
    ((what, remedy),) = told(examined(tmp_path, archive), "error")
    assert spec in what and remedy == f"hf download {spec.replace(':', '/')}"


def test_a_licence_that_nobody_acknowledged_is_told_and_is_no_error_of_an_entry_that_nobody_ran(tmp_path):
    archive = Archive(
        name="talks", kind="video", dataset="ucf101", embedding=EmbeddingConfig(backbone="efficientnet_lite0")
    )
    from lib.datasets import dataset

    exam = examined(tmp_path, archive)
    needs = dataset("ucf101").licence.needs_acknowledgement
    assert any("own terms" in what for what, _ in told(exam, "info")) is needs
    assert not told(exam, "error")
    agreed = archive.model_copy(update={"name": "agreed", "acknowledge_licence": True})
    assert not any("agreed: " in what for what, _ in told(examined(tmp_path, agreed), "info"))


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "nowhere", "127.0.0.1:{closed}"])
def test_a_ray_cluster_that_cannot_be_reached_is_an_error(tmp_path, monkeypatch, address):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", address.format(closed=closed))
    assert any("RAY_ADDRESS" in what for what, _ in told(examined(tmp_path), "error"))


def test_a_disk_that_is_nearly_full_is_a_warning(tmp_path, monkeypatch):
    Lake(tmp_path / "lake")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    assert any("are free for the lake" in what for what, _ in told(examined(tmp_path), "warning"))


def test_an_unknown_archive_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="no archive named 'tlaks'"):
        examined(tmp_path, archive_of(tmp_path / "videos"), name="tlaks")


@pytest.mark.slow
def test_dagsters_storage_damaged_or_of_another_version_is_a_finding(tmp_path, monkeypatch):
    import dagster as dg

    from orchestration.doctoring import check_dagster

    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
    runs = home / "history" / "runs.db"

    def errors():
        exam = Examination(tmp_path / "catalog.toml", tmp_path / "lake")
        check_dagster(exam, home)
        return told(exam, "error")

    assert errors() == []
    with sqlite3.connect(runs) as base:
        base.execute("UPDATE alembic_version SET version_num = '0000'")
    base.close()
    ((what, remedy),) = errors()
    assert "another version" in what and remedy == "dagster instance migrate"
    runs.write_bytes(b"garbage" * 5000)
    ((what, _),) = errors()
    assert "runs.db is damaged" in what


@pytest.mark.parametrize(
    "name",
    ["../etc", "a; touch pwned", "$(touch pwned)", "a'; DROP TABLE items; --", "a/b", "_locks", "", "-x"],
)
def test_archive_names_that_are_more_than_a_word_are_refused_wherever_they_come_from(tmp_path, name):
    with pytest.raises(CatalogError, match="won't do"):
        check_name(name)
    (tmp_path / "catalog.toml").write_text(f'[archives.{json.dumps(name)}]\nkind = "video"\nroot = "/"\n')
    with pytest.raises(CatalogError):
        read_catalog(tmp_path / "catalog.toml")


def test_names_with_quotes_shell_and_markup_in_them_are_items_like_any_other(tmp_path, monkeypatch):
    folder = tmp_path / 'it\'s $(touch pwned) "x" {{7*7}}'
    archive = archive_of(folder)
    for number, name in enumerate(NASTY):
        make_video(folder / name, seconds=0.4, seed=number)
    (folder / "bad'; DROP TABLE stages; --<script>.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    lake = Lake(tmp_path / "lake")
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    rows = Work(lake, archive).rows("items", "s00000")
    paths = [path for path, verdict in zip(*(rows.column(n).to_pylist() for n in ("path", "verdict")),
                                           strict=True) if verdict == OK]  # fmt: skip
    assert sorted(paths) == sorted(NASTY)
    for path in NASTY:
        quoted = path.replace("'", "''")
        (at,) = lake.matching(rows, f"path = '{quoted}'").nonzero()[0]
        assert rows.column("path")[int(at)].as_py() == path
    lake.ledger.note_failure("talks", "frames", "", "s00000", fingerprint="f", reason=NASTY[11], counts=True,
                             at="2026-01-01T00:00:00+00:00")  # fmt: skip
    exam = examined(tmp_path, archive)
    page, _ = make_health(lake, read_catalog(tmp_path / "catalog.toml"))
    assert exam.is_sound, exam.findings
    assert "<img" not in page.read_text() and "&lt;img src=x" in page.read_text()
    assert not list(tmp_path.rglob("pwned")) and len(lake.ledger.items("talks")) == len(NASTY) + 1


def test_the_doctor_and_the_health_page_tell_that_credentials_are_set_and_never_what_they_are(
    tmp_path, monkeypatch
):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    archive = archive_of(tmp_path / "videos")
    lake = Lake(tmp_path / "lake")
    exam = examined(tmp_path, archive)
    make_health(lake, read_catalog(tmp_path / "catalog.toml"))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    said = json.dumps([found.as_json() for found in exam.findings])
    assert "Hugging Face token is set" in said
    assert "planted-" not in said and b"planted-" not in written


@pytest.mark.slow
def test_secrets_of_the_environment_stand_in_no_output_log_metadata_or_report(tmp_path, monkeypatch):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("DINOLAKE_TRACEBACK", "1")
    place = Place(tmp_path)
    place.videos.mkdir()
    make_video(place.videos / "v0.mp4", seconds=2)
    (place.videos / "bad.mp4").write_bytes(b"no video")
    place.add()
    item = "v0"
    commands = [
        ("run", "talks"), ("run", "talks", "--json"), ("plan",), ("archives", "--json"), ("doctor", "--json"),
        ("doctor", "--repair"), ("health",), ("search", "talks", "--item", item), ("run", "talks", "nostage"),
        ("search", "talks", "--item", item, "--where", "getenv('HF_TOKEN') IS NOT NULL"), ("switch", "talks"),
        ("gc", "--dry-run"),
    ]  # fmt: skip
    said = "".join(done.stdout + done.stderr for done in (place.call(*command) for command in commands))
    assert "frame_embeddings" in said and "planted-" not in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files) and any(path.name == "health.html" for path in files)
    assert [path for path in files if b"planted-" in path.read_bytes()] == []
