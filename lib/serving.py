"""Which contract answers: a pointer beside an archive's stages, replaced whole.

A new backbone in the catalog makes a second contract next to the first. The old index answers until the new
one is made and has passed its checks; then the switch, and the way back, are one file's replacement.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from lib.catalog import Archive
from lib.errors import DinolakeError, IndexMissingError, LakeError
from lib.lake import Lake, Place, write_whole
from lib.stages.line import contract_id_of, line_of
from lib.stages.making import Work
from lib.stages.published_index import index_folder
from lib.stages.stage import usable

POINTER = "serving.json"
INDEX_STAGES = {"video": "clip_index", "scene": "scene_index", "pair": "gallery_index"}
# Sections of the catalog that queries are built by. Where sources lie is never one of them: that may move.
_SECTIONS = ("embedding", "frames", "clips", "index", "aligner")


@dataclass(frozen=True, slots=True)
class Published:
    """A contract that answers, or did and may again.

    Attributes:
        contract: Id of its vectors.
        since: When it last began to answer, ISO 8601 in UTC.
        stages: Stage -> id of the contract that its vectors stand under.
        entry: What the catalog said when it was published, of all that a query depends on.
    """

    contract: str
    since: str
    stages: dict[str, str]
    entry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pointer:
    """What an archive's `serving.json` says.

    Attributes:
        now: Id of the contract that answers.
        before: The one that did before it; "" for none.
        held: The contract that the catalog asked for when an operator went back from it: it is not switched
            to again by itself.
        published: All that were published and weren't collected.
    """

    now: str
    before: str = ""
    held: str = ""
    published: list[Published] = field(default_factory=list)

    def of(self, contract: str) -> Published | None:
        """What is noted of a contract."""
        return next((one for one in self.published if one.contract == contract), None)


def pointer_lock(lake: Lake, name: str) -> AbstractContextManager[None]:
    """Held while an archive's pointer, or what else lies beside its stages, changes."""
    return lake.lock(Place(name, "serving"))


def read_pointer(lake: Lake, name: str) -> Pointer | None:
    """What answers for an archive; None where nothing was published, or by an earlier version.

    Raises:
        LakeError: The file isn't what was written.
    """
    path = lake.root / name / POINTER
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        pointer = Pointer(**body | {"published": [Published(**one) for one in body["published"]]})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise LakeError(
            f"{path}, which says what answers, can't be read ({error}). Delete it: `dinolake run {name}` "
            "writes it again."
        ) from error
    if pointer.of(pointer.now) is None:
        raise LakeError(
            f"{path} names {pointer.now!r} and says nothing of it. Delete it: `dinolake run {name}` "
            "writes it again."
        )
    return pointer


def served(lake: Lake, archive: Archive) -> Work:
    """The archive under the contract that answers: what searches open, and embed their queries by.

    Raises:
        LakeError: The pointer is damaged, or its backbone makes other vectors than it did.
    """
    pointer = read_pointer(lake, archive.name)
    one = pointer.of(pointer.now) if pointer else None
    return under(lake, archive, one) if one else Work(lake, archive)


def under(lake: Lake, archive: Archive, one: Published) -> Work:
    """An archive as it was when a contract was published; its sources, as the catalog has them now.

    Raises:
        LakeError: The archive is of another kind now, or the backbone makes other vectors than it did.
    """
    if one.entry == _entry(archive):
        return Work(lake, archive)
    told = archive.model_dump()
    for name, section in one.entry.items():
        told[name] = {**told[name], **section} if name == "pairs" and told[name] else section
    try:
        work = Work(lake, Archive(**told))
    except ValidationError as error:
        raise LakeError(
            f"archive {archive.name!r} is another than the one that answers ({one.contract}): "
            f"{error.errors()[0]['msg']}. `dinolake run {archive.name}` publishes what the catalog asks for."
        ) from error
    if work.contracts.id != one.contract:
        raise LakeError(
            f"archive {archive.name!r} answers under {one.contract}, but its backbone "
            f"{work.archive.embedding.backbone!r} makes {work.contracts.id} now: its weights are others. Put "
            f"those back, or `dinolake run {archive.name}` to publish what the catalog asks for."
        )
    return work


def note_of(archive: Archive, work: Work) -> str:
    """A sentence for whoever asks, where what answers isn't what the catalog asks for; else ""."""
    if work.archive is archive or _entry(work.archive) == _entry(archive):
        return ""
    try:
        wanted = Work(work.lake, archive).contracts.id
    except DinolakeError as error:
        wanted = f"{archive.embedding.backbone} ({error})"
    if wanted == work.contracts.id:
        return ""
    told = (
        f"{archive.name}: {work.contracts.id} ({work.archive.embedding.backbone}) answers; the catalog asks "
        f"for {wanted}. "
    )
    pointer = _pointer_or_none(work.lake, archive.name)
    if pointer is None or pointer.held != wanted:
        return told + (
            f"`dinolake run {archive.name}` makes that and switches to it once it has passed its checks; "
            f"`dinolake switch {archive.name}` lists both."
        )
    # Runs make what the catalog asks for: what was gone back to doesn't grow.
    behind = len(_not_held(work))
    return told + (
        f"It was gone back to, and new files go into the other one alone (what answers lacks "
        f"{behind}): `dinolake switch {archive.name} --to {wanted}` lets that answer, or set the catalog "
        "entry's `embedding` back and run."
    )


def _not_held(work: Work) -> set[str]:
    """Items that can be used and aren't in a published index."""
    rows = work.rows(INDEX_STAGES[work.archive.line], columns=["item", "is_gone"]).to_pylist()
    held = {row["item"] for row in rows if not row["is_gone"]}
    return {item.item for item in usable(work.lake.ledger.items(work.archive.name))} - held


def standing_note(lake: Lake, archive: Archive) -> str:
    """`note_of` what answers for an archive now; "" where nothing does yet, or it can't be told."""
    try:
        return note_of(archive, served(lake, archive))
    except DinolakeError:
        return ""  # searching says what is wrong


def publish(work: Work) -> bool:
    """Let the catalog's contract answer from now on, if its index may be published; whether that is a change.

    For the end of a line's publishing step, when its blocking checks have passed. What an operator went back
    from stays where it is, until the catalog asks for another.
    """
    if work.archive.line not in INDEX_STAGES or work.lake.ledger.is_read_only:
        return False
    contract = work.contracts.id
    with pointer_lock(work.lake, work.archive.name):
        pointer = _pointer_or_none(work.lake, work.archive.name)
        if pointer is not None and pointer.held == contract != pointer.now:
            return False
        entry = _entry(work.archive)
        known = pointer.of(contract) if pointer else None
        is_now = pointer is not None and pointer.now == contract
        is_noted = known is not None and (known.entry, known.stages) == (entry, contracts_by_stage(work))
        if pointer is not None and is_now and is_noted and not pointer.held:
            return False
        # An index of some shards only, as a backfill leaves it, takes nobody's place.
        is_part = not is_now and not work.is_current(INDEX_STAGES[work.archive.line])
        if is_part or fault_of(work):
            return False
        point_at(work, pointer)
        return not is_now


def drop_published(lake: Lake, name: str, contracts: Sequence[str]) -> None:
    """Let a pointer tell nothing more of contracts that are about to be collected; never of what answers."""
    with pointer_lock(lake, name):
        pointer = read_pointer(lake, name)
        if pointer is None:
            return
        gone = set(contracts) - {pointer.now}
        _write(
            lake,
            name,
            replace(
                pointer,
                before="" if pointer.before in gone else pointer.before,
                published=[one for one in pointer.published if one.contract not in gone],
            ),
        )


def fault_of(work: Work, *, verify: bool = False) -> str:
    """Why a contract's index mustn't answer; "" where it may.

    Args:
        work: Under that contract.
        verify: Read every vector of it through, too.
    """
    stage = INDEX_STAGES[work.archive.line]
    try:
        folder = index_folder(work, stage)
        if folder is None:
            return "it has no index"
        work.rows(stage, columns=["item"])
        if verify:
            from lib.search.index import VectorIndex

            VectorIndex.open(folder, contract=work.contracts.id, verify=True)
    except (LakeError, IndexMissingError) as error:
        return str(error)
    footer = work.lake.footer(work.place(stage))
    notes = footer[1].notes if footer else {}
    recall, floor = float(notes.get("recall", 0.0)), work.archive.index.min_recall
    if recall < floor:
        return f"its index finds {recall:.3f} of what exact search does, below {floor:g}"
    if work.archive.kind != "pair":
        return ""
    from lib.stages.verify import aligner_faults

    return aligner_faults(work)[0]


def point_at(work: Work, pointer: Pointer | None, *, held: str = "") -> None:
    """Replace the pointer, the one file that says what answers; the caller holds `pointer_lock`."""
    contract = work.contracts.id
    is_now = pointer is not None and pointer.now == contract
    known = pointer.of(contract) if pointer else None
    since = known.since if known and is_now else datetime.now(UTC).isoformat(timespec="seconds")
    one = Published(contract, since, contracts_by_stage(work), _entry(work.archive))
    others = [each for each in pointer.published if each.contract != contract] if pointer else []
    before = pointer.before if pointer and is_now else pointer.now if pointer else ""
    _write(work.lake, work.archive.name, Pointer(contract, before, held, [*others, one]))


def _write(lake: Lake, name: str, pointer: Pointer) -> None:
    told = json.dumps(asdict(pointer), indent=1, ensure_ascii=False)
    # On the disk before it is in place: half of it would be no archive at all.
    write_whole(lake.root / name / POINTER, told, lasting=True)


def _pointer_or_none(lake: Lake, name: str) -> Pointer | None:
    """As `read_pointer`; a damaged one is written anew by who publishes."""
    try:
        return read_pointer(lake, name)
    except LakeError:
        return None


def contracts_by_stage(work: Work) -> dict[str, str]:
    """Stage -> id of the contract that its vectors stand under, of all stages that have one."""
    return {
        stage.name: contract_id_of(stage, work.contracts)
        for stage in line_of(work.archive).stages
        if stage.has_contract
    }


def _entry(archive: Archive) -> dict[str, Any]:
    """What of a catalog entry a query depends on, as JSON keeps it."""
    told: Mapping[str, Any] = json.loads(archive.model_dump_json())
    entry = {name: told[name] for name in _SECTIONS}
    if told["pairs"] is not None:
        entry["pairs"] = {side: told["pairs"][side] for side in ("left", "right")}
    return entry
