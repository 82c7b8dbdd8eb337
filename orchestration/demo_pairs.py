"""What `make demo` shows of the pair line: infrared views found by visible ones, turned and shifted."""

import json
from collections.abc import Callable
from pathlib import Path

from lib.stages.making import Work
from orchestration.searching import Request

PAIRS = "demo_pairs"


def show_pairs_found(work: Work, folder: Path, *, say: Callable[[str], None]) -> None:
    """Tell the ladder, and search one side with a picture of the other that was held back."""
    _tell_ladder(work, say)
    _search(work, folder, say)


def _tell_ladder(work: Work, say: Callable[[str], None]) -> None:
    report = work.lake.folder(work.archive.name, "retrieval_report") / "report.json"
    metrics = json.loads(report.read_text(encoding="utf-8"))["metrics"]
    say("\nRetrieval on the half that was held back (chance, the original design, ours):")
    for told in metrics:
        if told["metric"] in ("R@1", "R@10"):
            shown = (
                f"{told[name]:.3f}" if told[name] is not None else "–" for name in ("chance", "naive", "ours")
            )
            say(f"  {told['task']:14} {told['metric']:5} {'   '.join(shown)}   of {told['n']}")
    from lib.stages.retrieval_report import ladder_rows

    say("The ladder (R@1 in validation; → and ← on the half held back):")
    for row in ladder_rows(work):
        figures = ("     –" if value is None else f"{value:6.3f}" for value in (row[1], row[4], row[6]))
        say(f"  {row[0]:28} {'  '.join(figures)}")


def _search(work: Work, folder: Path, say: Callable[[str], None]) -> None:
    from lib.stages.pair_items import good_pairs
    from lib.stages.pair_table import folder_of
    from orchestration.searching_pairs import answer_pairs

    held = [row for row in good_pairs(work, ["item", "left", "split"]).to_pylist() if row["split"] == "test"]
    chosen = held[len(held) // 2]
    picture = folder_of(work.archive, work.root) / chosen["left"]
    sheet, geo = folder / "pairs.html", folder / "pairs.geojson"
    request = Request(picture, None, None, 5)
    found = answer_pairs(work.archive, work.lake, request, sheet=sheet, geo=geo)
    say(f"\nSearch of the infrared side by a visible picture: {chosen['item']}")
    for hit in found.hits:
        mark = "   (its own)" if hit.item == chosen["item"] else ""
        say(f"  {hit.rank}. {hit.item:24} {hit.lon:.4f},{hit.lat:.4f}   score {hit.score:.3f}{mark}")
    say(f"  to look at: {sheet}; for QGIS: {geo}")
