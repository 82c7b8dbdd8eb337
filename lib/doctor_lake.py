"""The doctor on the lake's files: each opens, has its footer, and holds what was written."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lib.catalog import Catalog
from lib.collect import find_litter
from lib.errors import IndexMissingError, LakeError
from lib.findings import Examination
from lib.lake import Lake, Place
from lib.room import size_text
from lib.shard_files import aside, file_fault, read_footer

_NO_FOOTER = "it is no whole Parquet file with a fingerprint in its footer"


def shard_files(root: Path, archive: str) -> Iterator[tuple[Path, Place]]:
    """Every Parquet file of an archive that stands where a shard's would, and what it would be."""
    base = root / archive
    for path in sorted([*base.glob("*/*.parquet"), *base.glob("*/*/*.parquet")]):
        stage, *contract, _ = path.relative_to(base).parts
        yield path, Place(archive, stage, path.stem, contract[0] if contract else "")


def unreadable(path: Path) -> str:
    """Why this user, or this disk, can't give a file's bytes; "" where it can. Damage is another matter."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def put_aside(exam: Examination, lake: Lake | None, path: Path, place: Place) -> str:
    """Make a broken shard a missing one; what was done, "" where no repair was asked for."""
    if not exam.is_repairing or lake is None or lake.ledger.is_read_only:
        return ""
    with lake.lock(place):
        if not path.exists():
            return "made again, or put aside, by another process"
        where = aside(lake.root, path)
        lake.ledger.drop_stage(place.archive, place.stage, place.contract, place.shard)
    return f"put aside, as {where}; the next run makes it again"


def check_files(exam: Examination, lake: Lake | None, archive: str) -> set[Place]:
    """Open every file of an archive, and read it through unless this is a quick look; those at fault."""
    broken: set[Place] = set()
    by_stage: dict[str, list[tuple[Path, Place]]] = defaultdict(list)
    for path, place in shard_files(exam.root, archive):
        by_stage[place.stage].append((path, place))
    for stage, files in by_stage.items():
        with exam.guarded(f"{archive}/{stage}"):
            size_bytes = sum(path.stat().st_size for path, _ in files)
            read = "footers of " if exam.is_quick else ""
            exam.say(f"  {stage}: {read}{len(files)} file{'s' * (len(files) > 1)}, {size_text(size_bytes)}")
        for path, place in files:
            with exam.guarded(str(path)):
                if not _check_file(exam, lake, path, place):
                    broken.add(place)
    return broken


def _check_file(exam: Examination, lake: Lake | None, path: Path, place: Place) -> bool:
    again = f"dinolake doctor {place.archive} --repair && dinolake run {place.archive}"
    if why := unreadable(path):
        exam.find("error", f"{path} can't be read ({why}).", "See to its disk and its permissions.")
        return False
    footer = read_footer(path)
    fault = _NO_FOOTER if footer is None else "" if exam.is_quick else file_fault(path)
    if fault:
        exam.find("error", f"{path} is damaged ({fault}).", again, put_aside(exam, lake, path, place))
        return False
    if footer is None:
        return False
    notes = footer[1].notes
    if "index" in notes and (fault := index_folder_fault(path.parent / str(notes["index"]), exam.is_quick)):
        exam.find(
            "error", f"the index that {path} names isn't whole: {fault}", again,
            put_aside(exam, lake, path, place),
        )  # fmt: skip
        return False
    return True


def index_folder_fault(folder: Path, is_quick: bool) -> str:
    """What is wrong with an index's files, by their sizes and, unless this is quick, their checksums."""
    from lib.search.saved import Manifest, check_content, read_whole

    def read(place: Path) -> None:
        manifest = Manifest.read(place)
        for name, written in {} if is_quick else manifest.files.items():
            check_content(place / name, written)

    try:
        read_whole(folder, read)
    except (IndexMissingError, LakeError) as error:
        return str(error)
    return ""


def check_litter(exam: Examination, lake: Lake, catalog: Catalog) -> None:
    """What dead processes left, what nothing points to, folders of archives that aren't in the catalog."""
    if exam.is_repairing and not lake.ledger.is_read_only and (swept := lake.sweep()):
        told = f"{swept} temporary file{'s' * (swept > 1)} of killed processes in {lake.root / '_tmp'}."
        exam.find("warning", told, "", "removed")
    names = [exam.name] if exam.name else list(catalog.archives)
    found = find_litter(lake, catalog.archives, names, older_than_s=0.0)
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for one in found.litter:
        if one.path.suffix != ".lock":  # of no size, and never in the way
            groups[one.archive, one.why].append(one.path)
            sizes[one.archive, one.why] += one.bytes
    for (archive, why), paths in groups.items():
        of = f"{archive}: " if archive else ""
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        is_temporary = paths[0].parent == lake.root / "_tmp"
        is_lost_shard = bool(archive) and paths[0].suffix == ".parquet"
        exam.find(
            "warning" if is_temporary or is_lost_shard else "info",
            f"{of}{os.fspath(paths[0])}{more} ({size_text(sizes[archive, why])}): {why}.",
            "dinolake doctor --repair" if is_temporary else "dinolake gc --dry-run",
        )
    for note in found.notes:
        exam.find("warning", note, "dinolake gc --dry-run")
