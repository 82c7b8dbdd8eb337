"""aligner: two heads fitted on the stored vectors of the training pairs; the backbones don't run.

A fitted artifact: new pairs don't move it, so that what was searched yesterday is found alike today. Other
settings, `dinolake run ARCHIVE --refit`, or deleting its file fit it again, and all that uses it follows.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib import schemas
from lib.errors import AlignerError
from lib.lake import Facts, fingerprint
from lib.stages.line import stage_of
from lib.stages.making import Work
from lib.stages.pair_items import good_pairs
from lib.stages.pair_line import aligner_settings
from lib.stages.pair_splits import Member, group_ids
from lib.stages.side_vectors import SideVectors

if TYPE_CHECKING:
    from lib.alignment.heads import Aligner
    from lib.alignment.ladder import Fitted
    from lib.alignment.pairs import Pairs

LEAST_PAIRS = 4
RUNGS, TRAINED = "rungs.json", "trained.parquet"


def make_aligner(work: Work, *, say: Callable[[str], None] = lambda line: None) -> Facts:
    """Fit every rung of the ladder on the training pairs; publish the best on those held out of them.

    Raises:
        AlignerError: There are too few pairs to train on.
    """
    place = work.place("aligner")
    with work.lake.lock(place):
        if facts := work.done("aligner"):
            return facts
        from lib.alignment.ladder import fit_ladder

        pairs = training_pairs(work)
        if len(pairs.pairs) < LEAST_PAIRS:
            raise AlignerError(
                f"{work.archive.name!r} has too few pairs to train on: {len(pairs.pairs)}; an aligner "
                f"needs {LEAST_PAIRS}. Its `items` say what was refused; `split` says what is train."
            )
        plain = training_pairs(work, is_plain=True) if has_plain(work) else None
        fitted = fit_ladder(pairs, work.archive.aligner, plain=plain, say=say)
        settings = aligner_settings(work.prints, stage_of(work.archive, "aligner"))
        folder = work.lake.path(place).parent
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "aligner_tmp"
        shutil.rmtree(partial, ignore_errors=True)
        for name, aligner in fitted.rung_aligners.items():
            signed = aligner.signed(
                left_contract=work.pair.left.id, right_contract=work.pair.right.id, fingerprint=settings
            )
            signed.save(partial / name)
        mark = fingerprint("aligner", settings, _hash_of(partial))
        name = f"aligner-{mark[:12]}"
        (partial / RUNGS).write_text(json.dumps(_told(fitted), indent=1), encoding="utf-8")
        _note_trained(work, partial / TRAINED)
        files = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
        shutil.rmtree(folder / name, ignore_errors=True)
        partial.rename(folder / name)
        with work.lake.writing(place, schemas.ALIGNER, mark) as writer:
            writer.write(pa.Table.from_pylist([asdict(row) for row in fitted.curve], schema=schemas.ALIGNER))
            writer.facts.made = 1
            writer.facts.notes = {
                "settings": settings, "aligner": name, "pairs": len(pairs.pairs), "chosen": fitted.chosen,
                "dim": fitted.aligner.dim, "facts": fitted.facts, "files": files,
            }  # fmt: skip
        # Older heads stay: the index that still answers was made with one. `dinolake gc` collects them.
        return writer.facts


def _note_trained(work: Work, path: Path) -> None:
    """Keep what the heads have seen: no figure may be of that, whatever a table says later."""
    table = good_pairs(work, ["item", "left_hash", "right_hash", "split"])
    seen = pc.and_(pc.equal(table.column("split"), "train"), pc.is_valid(table.column("left_hash")))
    pq.write_table(table.filter(seen).select(["item", "left_hash", "right_hash"]), path)


def trained_on(folder: Path) -> tuple[set[str], set[str]]:
    """Ids of the pairs that an aligner was fitted on, and the content hashes of both their sides."""
    table = pq.read_table(folder / TRAINED)
    hashes = {d for side in ("left_hash", "right_hash") for d in table.column(side).to_pylist()}
    return set(table.column("item").to_pylist()), hashes


def _told(fitted: "Fitted") -> dict[str, Any]:
    """What the report says of the ladder, as JSON."""
    rungs = {
        rung.name: {
            "validation": rung.left_to_right, "back": rung.right_to_left, "mrr": rung.mrr,
            "seconds": round(rung.seconds, 3), "note": rung.note,
        }
        for rung in fitted.rungs
        if rung.name in fitted.rung_aligners
    }  # fmt: skip
    left_out = {rung.name: rung.note for rung in fitted.rungs if rung.name not in fitted.rung_aligners}
    return {"rungs": rungs, "left_out": left_out, "chosen": fitted.chosen, "pairs": fitted.facts["pairs"]}


def has_plain(work: Work) -> bool:
    """Whether more is made of a side than the original design saw of it."""
    sides = (work.pair.left, work.pair.right)
    return any(tuple(side.dims) != (side.plain,) for side in sides)


def training_pairs(work: Work, *, is_plain: bool = False) -> "Pairs":
    """The pairs to train on whose sides both have vectors, contents numbered once each.

    Args:
        work: A pair archive's.
        is_plain: With no more of a side than the original design saw.
    """
    from lib.alignment.pairs import Pairs

    columns = ["item", "left_hash", "right_hash", "group", "split", "lon", "lat"]
    table = good_pairs(work, columns)
    chosen = pc.and_(pc.equal(table.column("split"), "train"), pc.is_valid(table.column("left_hash")))
    told = table.filter(chosen).to_pylist()
    left, right = (
        SideVectors(
            work,
            side,
            {row[f"{side}_hash"] for row in told},
            (work.pair.side(side).plain,) if is_plain else None,
        )
        for side in ("left", "right")
    )
    told = [row for row in told if row["left_hash"] in left.rows and row["right_hash"] in right.rows]
    pictures = [s for s in ("left", "right") if work.archive.pair_sides().side(s).kind != "text"]
    groups = group_ids(
        [Member(r["item"], None, None, r["group"], tuple(r[f"{s}_hash"] for s in pictures)) for r in told]
    )
    lonlat = np.array([[r["lon"], r["lat"]] for r in told], np.float64).reshape(-1, 2)
    return Pairs(
        left=left.features,
        right=right.features,
        pairs=np.array(
            [[left.rows[r["left_hash"]], right.rows[r["right_hash"]]] for r in told], np.int64
        ).reshape(-1, 2),
        groups=np.array([groups[r["item"]] for r in told], np.int64),
        lonlat=None if np.isnan(lonlat).all() else lonlat,
    )


def aligner_folder(work: Work) -> Path:
    """The folder of the aligner that stands.

    Raises:
        AlignerError: None was fitted yet.
    """
    fitted = work.prints.fitted("aligner")
    if fitted is None:
        name = work.archive.name
        raise AlignerError(f"archive {name!r} has no aligner yet. `dinolake run {name}` trains one.")
    return work.lake.path(work.place("aligner")).parent / str(fitted[1]["aligner"])


def read_aligner(folder: Path, rung: str | None = None) -> "Aligner":
    """One rung's heads; the published one's for None.

    Raises:
        AlignerError: The files are gone or damaged.
    """
    from lib.alignment.heads import Aligner

    try:
        rung = rung or json.loads((folder / RUNGS).read_text(encoding="utf-8"))["chosen"]
    except (OSError, ValueError, KeyError) as error:
        raise AlignerError(
            f"the aligner {folder} isn't whole ({error}): `dinolake run` fits it again."
        ) from error
    return Aligner.open(folder / rung)


def _hash_of(folder: Path) -> list[str]:
    from lib.stages.scan import content_hash

    return [content_hash(path) for path in sorted(folder.rglob("*.safetensors"))]
