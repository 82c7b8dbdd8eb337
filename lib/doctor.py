"""`dinolake doctor`: everything that can be wrong with a lake and what is around it, each with its remedy.

Whatever is broken becomes a finding, never a traceback. Nothing is changed unless a repair was asked for, and
a repair puts aside or notes; it deletes nothing that couldn't be made again.
"""

from lib.catalog import Archive, Catalog, read_catalog
from lib.doctor_around import check_around
from lib.doctor_contents import check_contents
from lib.doctor_lake import check_files, check_litter
from lib.doctor_ledger import check_failures, check_noted, open_lake
from lib.errors import DinolakeError, UsageError
from lib.findings import Examination, Finding


def examine(exam: Examination) -> list[Finding]:
    """Examine the catalog, the lake and what is around them.

    Raises:
        UsageError: The catalog has no such archive.
    """
    catalog = _catalog(exam)
    lake = open_lake(exam)
    for archive in _archives(exam, catalog):
        exam.say(f"{archive.name}:")
        # Files first: what is damaged is then put aside, or known and left out.
        broken = check_files(exam, lake, archive.name)
        if lake is None:
            continue
        with exam.guarded(f"{archive.name}: the ledger's notes"):
            check_noted(exam, lake, archive)
        with exam.guarded(f"{archive.name}: failed shards"):
            check_failures(exam, lake, archive)
        with exam.guarded(f"{archive.name}: what its files hold", f"dinolake plan {archive.name}"):
            check_contents(exam, lake, archive, broken)
    if lake is not None and catalog is not None:
        with exam.guarded("what nothing points to"):
            check_litter(exam, lake, catalog)
    check_around(exam, lake, _archives(exam, catalog))
    return exam.findings


def _catalog(exam: Examination) -> Catalog | None:
    try:
        catalog = read_catalog(exam.catalog_path)
    except DinolakeError as error:
        exam.find("error", f"the catalog can't be used: {error}", f"edit {exam.catalog_path}")
        return None
    except OSError as error:
        exam.find(
            "error", f"the catalog {exam.catalog_path} can't be read: {error.strerror}.",
            "Give this user read access to it, or point DINOLAKE_CATALOG elsewhere.",
        )  # fmt: skip
        return None
    if exam.name is not None and exam.name not in catalog.archives:
        catalog.archive(exam.name)
        raise UsageError(f"no archive named {exam.name!r}")  # pragma: no cover
    if not catalog.archives:
        exam.find("info", f"the catalog {exam.catalog_path} has no archive.", "dinolake add NAME KIND FOLDER")
    return catalog


def _archives(exam: Examination, catalog: Catalog | None) -> list[Archive]:
    if catalog is None:
        return []
    return [catalog.archives[exam.name]] if exam.name else list(catalog.archives.values())
