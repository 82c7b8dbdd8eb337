"""Work done ahead comes in order, is bounded, and fails where its thing is."""

import threading

import pytest

from lib.ahead import ahead


def test_what_is_made_comes_in_the_things_order_whichever_is_done_first():
    late = threading.Event()

    def work(number):
        if number == 0:
            late.wait(5)
        elif number == 1:
            late.set()
        return number * number

    made = [(thing, result.result()) for thing, result in ahead(work, range(20), most=6)]
    assert made == [(number, number * number) for number in range(20)]


def test_no_more_things_are_taken_than_are_asked_for():
    taken = []

    def things():
        for number in range(100):
            taken.append(number)
            yield number

    for number, _ in ahead(str, things(), most=5):
        assert len(taken) <= number + 5


def test_an_error_is_raised_where_its_thing_is_taken_and_the_others_stand():
    results = dict(ahead(lambda number: 1 // number, [1, 0, 1], most=3))
    assert results[1].result() == 1
    with pytest.raises(ZeroDivisionError):
        results[0].result()


def test_whoever_stops_early_leaves_no_thread_at_work():
    source = ahead(str, range(1000), most=4)
    next(source)
    source.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
