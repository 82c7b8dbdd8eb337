import json
import subprocess
import sys
import time

import numpy as np
import pytest

from lib.embedding import tuning
from lib.embedding.backbones import contract_of, resolve
from lib.embedding.pictures import seeded_pictures
from lib.embedding.runtimes import open_runtime
from lib.embedding.tuning import Choice, Notebook, fastest

TINY = "random:vit_64x2_patch16_dinov3?seed=7"


@pytest.fixture(autouse=True)
def tuning_is_on(own_caches, monkeypatch):
    monkeypatch.setenv("DINOLAKE_TUNING", "on")
    # Other tests may well be at work beside these.
    monkeypatch.setattr(tuning, "is_quiet", lambda: True)


def measured(batch=2, streams=2):
    choice = Choice(batch, streams)
    return lambda: (choice, {choice: 9.0})


def refuses():
    raise AssertionError("measured though it needn't be")


def test_the_fastest_wins_and_of_equals_the_one_with_the_fewest_pictures_at_a_time():
    rates = {Choice(4, 2): 98.0, Choice(1, 2): 80.0, Choice(2, 1): 97.0, Choice(8, 1): 100.0}
    chosen, told = fastest(rates, rates.__getitem__)
    assert chosen == Choice(2, 1)
    assert told == rates


def test_the_first_is_tried_however_little_time_there_is_and_then_no_other():
    chosen, told = fastest([Choice(1, 2), Choice(4, 2)], lambda choice: float(choice.batch), budget_s=0)
    assert chosen == Choice(1, 2)
    assert len(told) == 1


def test_one_bad_moment_does_not_decide():
    rates = {Choice(1, 2): iter([90.0, 120.0]), Choice(4, 2): iter([100.0, 100.0])}
    assert fastest(rates, lambda choice: next(rates[choice]))[0] == Choice(1, 2)


def test_what_was_measured_is_read_back_and_another_machine_is_measured_anew(tmp_path):
    file = tmp_path / "tuned.json"
    assert Notebook(file).settled("one cpu", measured()) == Choice(2, 2)
    assert Notebook(file).settled("one cpu", refuses) == Choice(2, 2)
    assert Notebook(file).settled("another cpu", measured(4, 1)) == Choice(4, 1)
    assert set(json.loads(file.read_text())) == {"one cpu", "another cpu"}


@pytest.mark.parametrize("damage", ["{", "[]", '{"one cpu": {"batch": 0, "streams": 2}}', '{"one cpu": 3}'])
def test_a_damaged_note_is_measured_again(tmp_path, damage):
    (tmp_path / "tuned.json").write_text(damage)
    assert Notebook(tmp_path / "tuned.json").settled("one cpu", measured()) == Choice(2, 2)
    assert Notebook(tmp_path / "tuned.json").choice("one cpu") == Choice(2, 2)


def test_nothing_is_measured_where_nothing_can_be_kept(tmp_path):
    (tmp_path / "file").write_text("")
    assert Notebook(tmp_path / "file" / "tuned.json").settled("one cpu", refuses) is None


def test_nothing_is_measured_while_others_are_at_work(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "is_quiet", lambda: False)
    assert Notebook(tmp_path / "tuned.json").settled("one cpu", refuses) is None


def test_another_process_at_work_is_seen(monkeypatch):
    monkeypatch.undo()
    busy = "import time\nwhile time.process_time() < 20: pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as other:
        time.sleep(0.3)
        was_quiet = tuning.is_quiet()
        other.kill()
    assert not was_quiet


def test_measuring_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("DINOLAKE_TUNING", "off")
    assert Notebook(tmp_path / "tuned.json").settled("one cpu", refuses) is None


def test_a_process_that_was_told_its_batch_measures_nothing_and_others_once(own_caches, monkeypatch):
    asked = []

    def rate(run, pictures):
        asked.append(len(next(run(pictures))[0]))
        return 1.0

    monkeypatch.setattr(tuning, "rate_of_stream", rate)
    file = own_caches / "dinolake" / "openvino" / "tuned.json"
    file.unlink(missing_ok=True)
    told = resolve(TINY), contract_of(TINY, size_px=64)
    open_runtime(*told, batch=2)
    assert asked == []
    assert not file.exists()
    open_runtime(*told, threads=1)
    first = len(asked)
    assert first >= len(tuning.candidates(1))
    open_runtime(*told, threads=1)
    assert len(asked) == first
    open_runtime(*told, threads=2)
    assert len(asked) > first


def test_a_vector_is_the_same_to_the_bit_whatever_was_chosen(own_caches, monkeypatch):
    pictures, made = list(seeded_pictures(9, 64)), []
    for choice in (Choice(1, 1), Choice(1, 2), Choice(2, 2), Choice(4, 1), Choice(4, 2)):
        monkeypatch.setattr(Notebook, "settled", lambda *args, choice=choice: choice)
        runtime = open_runtime(resolve(TINY), contract_of(TINY, size_px=64), threads=2)
        assert f"batch {choice.batch} x {choice.streams} stream" in runtime.name
        made.append([np.concatenate(parts) for parts in zip(*runtime.run(pictures), strict=True)])
    for other in made[1:]:
        for ours, first in zip(other, made[0], strict=True):
            np.testing.assert_array_equal(ours, first)
