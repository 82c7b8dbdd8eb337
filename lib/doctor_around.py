"""The doctor on what is around a lake: weights, licences, credentials, sources, disk, clock, Ray."""

import hashlib
import importlib.util
import os
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from lib.catalog import Archive
from lib.datasets import dataset
from lib.embedding.backbones import resolve
from lib.errors import DinolakeError
from lib.findings import Examination, Level
from lib.lake import Lake
from lib.plan import plan_archive
from lib.room import size_text
from lib.stages.freshness import index_freshness, source_freshness
from lib.stages.line import LINES, line_of
from lib.stages.making import Work

# Of a disk, what a lake had better leave free: SQLite and temporary files want some too.
_LEAST_FREE = 1 << 30
_CLOCK_SLACK_S = 300.0
_CONNECT_S = 3.0
_ALERTS = ("DINOLAKE_ALERT_WEBHOOK", "DINOLAKE_ALERT_MAIL_TO")
_S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def check_around(exam: Examination, lake: Lake | None, archives: Sequence[Archive]) -> None:
    """Everything that a run needs besides the lake itself."""
    exam.say("weights, sources, credentials, disk, Ray")
    with exam.guarded("the weights"):
        _check_weights(exam, archives)
    for archive in archives:
        with exam.guarded(f"{archive.name}: its source"):
            _check_dataset(exam, archive, lake)
        if lake is not None:
            with exam.guarded(f"{archive.name}: its source"):
                _check_freshness(exam, Work(lake, archive))
    _check_credentials(exam, archives)
    with exam.guarded("the disk"):
        _check_disk(exam, lake, archives)
    with exam.guarded("permissions and times"):
        _check_entries(exam)
    with exam.guarded("Ray"):
        _check_ray(exam)


def _check_weights(exam: Examination, archives: Sequence[Archive]) -> None:
    users: dict[str, list[str]] = {}
    for archive in archives:
        users.setdefault(archive.embedding.backbone, []).append(archive.name)
    for spec, names in users.items():
        whose = f"the backbone {spec!r} of {', '.join(names)}"
        try:
            told = resolve(spec)
        except DinolakeError as error:
            exam.find("error", f"{whose} can't be had: {error}", _weights_remedy(spec))
            continue
        # The hash is kept by size and date: here the bytes themselves are asked.
        if not exam.is_quick and len(told.files) == 1:
            with told.files[0].open("rb") as file:
                seen = hashlib.file_digest(file, "sha256").hexdigest()
            if seen != told.weights_sha256:
                exam.find(
                    "error", f"{whose}: {told.files[0]} has other bytes than were hashed, and the same date.",
                    "Fetch it again; `touch` it if the new bytes are meant.",
                )  # fmt: skip
        if told.is_dinov3:
            exam.find("info", f"{whose} comes under the {told.licence.name}: {told.licence.asks}",
                      f"read {told.licence.url}")  # fmt: skip


def _weights_remedy(spec: str) -> str:
    form, _, rest = spec.partition(":")
    if form == "timm":
        return f"hf download timm/{rest}"
    if form == "hf" and not Path(rest).expanduser().exists() and rest.count("/") == 1:
        return f"hf download {rest}"
    return "put the weights back, or change embedding.backbone in the catalog"


def _check_dataset(exam: Examination, archive: Archive, lake: Lake | None) -> None:
    if archive.dataset is None or archive.root is not None:
        return
    told = dataset(archive.dataset)
    is_fetched = lake is not None and (lake.root / "_sources" / archive.name).is_dir()
    # The catalog comes with entries that nobody has to run.
    unfetched: Level = "error" if lake is not None and lake.ledger.shards(archive.name) else "info"
    if told.licence.needs_acknowledgement and not archive.acknowledge_licence:
        exam.find(
            "warning" if is_fetched else unfetched,
            f"{archive.name}: {told.title} comes under its own terms ({told.licence.name}), which nobody "
            f"acknowledged. {told.licence.asks}",
            f"read {told.licence.url}; if you agree, set acknowledge_licence = true in its catalog entry",
        )
    if told.credentials and not os.environ.get(told.credentials):
        exam.find(
            "info" if is_fetched else unfetched,
            f"{archive.name}: {told.title} is for holders of a token, and {told.credentials} isn't set.",
            f"set {told.credentials} to your token, or `root` to the folder that you have the files in",
        )


def _check_freshness(exam: Examination, work: Work) -> None:
    archive = work.archive
    if archive.is_in_bucket:
        _check_bucket(exam, archive)
    is_there = archive.root is None or archive.is_in_bucket or Path(archive.root).expanduser().exists()
    found = source_freshness(work)
    if not found.is_fresh:
        exam.find("warning" if is_there else "error", f"{archive.name}: {found.told}",
                  "" if is_there else "mount it, or set `root` in the catalog entry")  # fmt: skip
    if archive.line not in LINES:
        return
    try:
        _ = work.contracts.id
    except DinolakeError:
        return  # told with the weights
    for stage in line_of(archive).stages:
        if stage.name.endswith("_index") and not (left := index_freshness(work, stage.name)).is_fresh:
            exam.find("warning", f"{archive.name}/{stage.name}: {left.told}", f"dinolake run {archive.name}")


def _check_bucket(exam: Examination, archive: Archive) -> None:
    from lib.bucket import count_objects

    try:
        if not count_objects(archive.root or ""):
            exam.find("warning", f"{archive.name}: no object lies below {archive.root}.",
                      "see to the address in its catalog entry")  # fmt: skip
    except DinolakeError as error:
        exam.find("error", f"{archive.name}: {error}", "see to the bucket, its address and the credentials")


def _check_credentials(exam: Examination, archives: Sequence[Archive]) -> None:
    """Whether they are there and whether they are needed: never what they are."""
    token = any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    state = "set" if token or (home / "token").is_file() else "not set"
    wants = [a.name for a in archives if a.embedding.backbone.startswith(("timm:", "hf:"))]
    why = f"only for fetching the weights of {', '.join(wants)} again" if wants else "by no archive"
    exam.find("info", f"a Hugging Face token is {state}; needed {why}.")
    places = [exam.address, *(a.root or "" for a in archives)]
    if any(place.startswith(("s3:", "gs:")) for place in places):
        missing = [name for name in _S3_KEYS if not os.environ.get(name)]
        has_file = (Path.home() / ".aws").is_dir()
        if missing and not has_file:
            exam.find("warning", f"{' and '.join(missing)} aren't set, and an address of S3 is used.",
                      "set them, or run where the machine's own role gives access")  # fmt: skip
        else:
            exam.find("info", "credentials for S3 are set.")
    if not any(os.environ.get(name) for name in _ALERTS):
        exam.find(
            "info",
            "nobody is told when a run fails: no webhook and no mail is set.",
            f"set {_ALERTS[0]} or {_ALERTS[1]} for `dinolake ui`",
        )


def _check_disk(exam: Examination, lake: Lake | None, archives: Sequence[Archive]) -> None:
    if not exam.root.is_dir():
        return
    free, wanted = shutil.disk_usage(exam.root).free, 0
    for archive in archives if lake is not None else ():
        if archive.line in LINES and lake is not None:
            try:
                plans = plan_archive(Work(lake, archive))
            except DinolakeError:
                continue  # told with its weights, or with its source
            wanted += sum(plan.bytes or 0 for plan in plans.values())
    told = f"{size_text(free)} are free for the lake {exam.root}"
    if wanted > free:
        exam.find("error", f"{told}, and what is due takes about {size_text(wanted)}.",
                  "dinolake gc, or free some room, or point DINOLAKE_LAKE at a larger disk")  # fmt: skip
    elif free - wanted < _LEAST_FREE:
        exam.find("warning", f"{told}, of which a run takes about {size_text(wanted)}.", "dinolake gc")
    else:
        exam.find("info", f"{told}; what is due takes about {size_text(wanted)}.")


def _check_entries(exam: Examination) -> None:
    """Files and folders of the lake that this user can't read or write, and times that lie ahead."""
    if not exam.root.is_dir():
        return
    closed, locked, ahead = list[Path](), list[Path](), list[Path]()
    may_write, soon = os.access(exam.root, os.W_OK), time.time() + _CLOCK_SLACK_S
    for folder, _, names in os.walk(exam.root):
        inside = Path(folder)
        if not os.access(inside, os.R_OK | os.X_OK):
            closed.append(inside)
        elif may_write and not os.access(inside, os.W_OK):
            locked.append(inside)
        for name in names:
            path = inside / name
            if not os.access(path, os.R_OK) and path.exists():
                closed.append(path)
            elif path.exists() and path.stat().st_mtime > soon:
                ahead.append(path)
    for paths, level, what, remedy in (
        (closed, "error", "can't be read by this user", "give it read access to all in the lake"),
        (locked, "error", "can't be written to, unlike the lake itself", "give this user write access to it"),
        (ahead, "warning", "is dated ahead of this machine's clock: the clock went back, or is another's",
         "set the clock; nothing in the lake is decided by dates, but freshness is told by them"),
    ):  # fmt: skip
        if paths:
            more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
            exam.find("error" if level == "error" else "warning", f"{paths[0]}{more} {what}.", remedy)


def _check_ray(exam: Examination) -> None:
    if importlib.util.find_spec("ray") is None:
        exam.find("error", "Ray isn't installed: nothing can be embedded.", "make dev")
    address = os.environ.get("RAY_ADDRESS", "")
    if not address or address in ("auto", "local"):
        return
    if address.startswith("ray://"):
        exam.find("error", "RAY_ADDRESS is a Ray client's address (ray://), which runs don't use.",
                  "set it to the cluster's own host:port, such as 10.0.0.1:6379")  # fmt: skip
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        exam.find("error", f"RAY_ADDRESS is {address!r}, which is no host:port.", "set it, or unset it")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        exam.find(
            "error", f"no Ray cluster answers at {address} (RAY_ADDRESS): {error.strerror or error}.",
            f"ray start --head --port {port}, there; or unset RAY_ADDRESS for a local one",
        )  # fmt: skip
