"""The bench measures what it says: its JSON, its goals, and that both ways make the same vectors."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def bench_is_importable(monkeypatch, tmp_path):
    """The bench isn't installed: it runs from the checkout. Converted networks have a folder of their own."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_latest_json_has_the_houses_fields_and_tells_missed_goals(tmp_path):
    from bench.__main__ import write_figures
    from bench.figures import Figure

    figures = [
        Figure("speed", "the loop", (2.0, 4.0, 3.0), goal=2.5),
        Figure("delay", "bare", (1.6,), goal=1.5, is_at_most=True),
        Figure("network", "eager", (3.3,)),
    ]
    write_figures(figures, tmp_path / "latest.json")
    speed, delay, network = json.loads((tmp_path / "latest.json").read_text())
    assert {
        "name": "speed",
        "against": "the loop",
        "ratio": 3.0,
        "goal": 2.5,
        "ok": True,
    }.items() <= speed.items()
    assert speed["spread"] == [2.0, 4.0]
    assert (delay["ok"], network["goal"], network["ok"]) == (False, None, True)


def test_pairs_that_others_disturbed_do_not_count(monkeypatch):
    from bench import figures

    shares = iter([0.5, 0.0, 0.01, 0.0, 0.0, 0.6, 0.0, 0.0])
    monkeypatch.setattr(figures, "_watched", lambda timed: (timed(), next(shares)))
    theirs, ours = iter([9.0, 3.0, 9.0, 4.0]), iter([1.0, 1.0, 1.0, 2.0])
    pairs = figures.paired(lambda: next(ours), lambda: next(theirs), repeats=2)
    assert sorted(pairs.speedups) == [2.0, 3.0]
    assert pairs.measured == 4


def test_the_loop_and_the_line_make_the_same_vectors(tmp_path):
    from bench.figures import least_cosine
    from bench.line import Line
    from bench.material import make_film
    from bench.original import OriginalLoop

    film = tmp_path / "film" / "film.mp4"
    film.parent.mkdir()
    make_film(film, seconds=7.2, size=(160, 120))
    made = Line("efficientnet_lite0", film.parent, tmp_path).run()
    looped, mean = OriginalLoop("efficientnet_lite0").run(film)
    assert len(looped) == made.frames == 8
    assert least_cosine(made.vectors("cls"), looped) >= 0.999
    # Neighbours are told apart, so that frames taken at other times would show.
    assert least_cosine(looped[:-1], looped[1:]) < 0.99
    np.testing.assert_allclose(mean, looped.mean(axis=0), rtol=1e-5)


def test_what_a_child_process_computes_is_no_disturbance():
    import subprocess
    import sys

    from bench.figures import _own_s

    busy = "import time\nwhile time.process_time() < 0.4: pass"
    before = _own_s()
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert _own_s() - before >= 0.35


def test_a_part_that_fails_is_named_and_stops_no_other(tmp_path, monkeypatch, capsys):
    import sys
    import types

    from bench import __main__ as bench
    from bench.figures import Figure

    parts = {"broken": types.ModuleType("b"), "whole": types.ModuleType("w")}
    parts["broken"].measure = lambda folder, *, quick: 1 / 0
    parts["whole"].measure = lambda folder, *, quick: [Figure("speed", "the loop", (2.0,), goal=1.0)]
    for name, module in parts.items():
        monkeypatch.setitem(sys.modules, f"bench.{name}", module)
    monkeypatch.setattr(bench, "PARTS", {name: f"bench.{name}" for name in parts})
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", "--quick"])
    assert bench.main() == 1
    assert "Failed: broken" in capsys.readouterr().out
    [speed] = json.loads((tmp_path / "latest.json").read_text())
    assert (speed["name"], speed["part"]) == ("speed", "whole")
    assert "Failed, and not here: broken." in (tmp_path / "out" / "speed.md").read_text()
