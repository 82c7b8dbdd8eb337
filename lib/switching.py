"""Another contract answers, or the one before again: what an operator asks for, and what there is."""

from typing import Any

from lib.catalog import Archive
from lib.errors import DinolakeError, LakeError, UsageError
from lib.lake import Lake
from lib.serving import INDEX_STAGES, fault_of, point_at, pointer_lock, read_pointer, under
from lib.stages.making import Work


def switch(lake: Lake, archive: Archive, *, to: str | None = None, back: bool = False) -> tuple[str, str]:
    """Let another contract answer, at once and whole; the ids of the one before and of the one now.

    Args:
        lake: Where it lies.
        archive: The catalog entry.
        to: Id of a contract, as `listed` gives them.
        back: In place of it: the one before.

    Raises:
        UsageError: No such contract, or none before.
        LakeError: Its index isn't whole, or finds too little.
    """
    name = archive.name
    lake.ledger.require_writable()
    with pointer_lock(lake, name):
        pointer = read_pointer(lake, name)
        now = pointer.now if pointer else ""
        if back:
            to = pointer.before if pointer else ""
            if not to:
                raise UsageError(
                    f"nothing answered for {name!r} before {now or 'now'}: `dinolake switch {name}`."
                )
        one = pointer.of(to) if pointer and to else None
        wanted = _wanted(lake, archive)
        if one is not None:
            work = under(lake, archive, one)
        elif wanted is not None and wanted.contracts.id == to:
            work = wanted
        else:
            known = ", ".join(each["contract"] for each in listed(lake, archive)) or "none yet"
            raise UsageError(
                f"archive {name!r} has no contract {to!r} that could answer; there are: {known}."
            )
        if fault := fault_of(work, verify=True):
            raise LakeError(
                f"{to} can't answer for {name!r}: {fault.rstrip('.')}. {now or 'What answers'} stays. "
                f"With its backbone in the catalog, `dinolake run {name}` makes it whole."
            )
        held = wanted.contracts.id if wanted is not None and wanted.contracts.id != to else ""
        point_at(work, pointer, held=held)
        return now, work.contracts.id


def listed(lake: Lake, archive: Archive) -> list[dict[str, Any]]:
    """The contracts that could answer: id, backbone, since when, what each is, what is wrong with it."""
    pointer, wanted = read_pointer(lake, archive.name), _wanted(lake, archive)
    asked = wanted.contracts.id if wanted is not None else ""
    found = {one.contract: one for one in pointer.published} if pointer else {}
    rows = []
    for contract in dict.fromkeys([*found, *([asked] if asked else [])]):
        one = found.get(contract)
        try:
            work = under(lake, archive, one) if one else wanted
            fault = fault_of(work) if work is not None else ""
        except DinolakeError as error:
            fault = str(error)
        backbone = one.entry["embedding"]["backbone"] if one else archive.embedding.backbone
        is_now = pointer.now == contract if pointer else not fault
        states = ("answers" if is_now else "",
                  "before" if pointer and pointer.before == contract else "",
                  "the catalog's" if contract == asked else "")  # fmt: skip
        rows.append(
            {
                "contract": contract, "backbone": backbone, "since": one.since if one else "",
                "is_serving": is_now, "is_wanted": contract == asked,
                "state": ", ".join(filter(None, states)) or "stands", "fault": fault,
            }
        )  # fmt: skip
    return rows


def _wanted(lake: Lake, archive: Archive) -> Work | None:
    """The archive under the catalog's contract; None where its backbone can't be had.

    Raises:
        UsageError: Nothing in such an archive is searched.
    """
    if archive.line not in INDEX_STAGES:
        kind = archive.line.replace("_", " ")
        raise UsageError(f"archive {archive.name!r} is a {kind} archive: nothing in it is searched.")
    work = Work(lake, archive)
    try:
        _ = work.contracts.id
    except DinolakeError:
        return None
    return work
