"""Splits of pairs: a place stays on one side, and what was decided once stays."""

from lib.stages.pair_splits import Member, split_members


def member(name, split=None, before=None, group=None, shared=()):
    return Member(name, split, before, group, tuple(shared))


def splits(members, share=0.5):
    return {name: split for name, (split, _) in split_members(members, test_share=share).items()}


def test_pairs_that_share_a_picture_or_a_group_are_on_one_side():
    members = [member(f"p{n}", group=f"g{n // 4}", shared=[f"tile{n // 2}"]) for n in range(400)]
    found = splits(members)
    for first in range(0, 400, 4):
        assert len({found[f"p{n}"] for n in range(first, first + 4)}) == 1
    tests = sum(split == "test" for split in found.values())
    # 100 groups of four, half of them wanted.
    assert tests == 200


def test_groups_that_share_a_picture_through_a_third_are_one():
    found = splits([member("a", group="x"), member("b", shared=["t"]), member("c", group="x", shared=["t"])])
    assert len(set(found.values())) == 1


def test_what_was_decided_before_stays_when_pairs_are_added():
    first = [member(f"p{n}") for n in range(50)]
    before = splits(first)
    more = [member(f"new{n}") for n in range(50)] + [member(m.name, before=before[m.name]) for m in first]
    assert {name: split for name, split in splits(more).items() if name in before} == before


def test_train_pairs_of_a_place_that_is_tested_are_refused_and_the_test_pair_stands():
    told = split_members(
        [
            member("a", split="train", group="x"),
            member("b", split="test", group="x"),
            member("c", split="train"),
        ],
        test_share=0.5,
    )
    assert told["a"][0] == "train"
    assert "'b' in test" in told["a"][1]
    assert told["b"] == ("test", "")
    assert told["c"] == ("train", "")


def test_one_group_alone_is_trained_on_and_a_second_is_held_back():
    assert splits([member("a", group="x"), member("b", group="x")]) == {"a": "train", "b": "train"}
    assert sorted(splits([member("a"), member("b")], share=0.5).values()) == ["test", "train"]


def test_a_small_share_of_a_few_is_met_exactly_and_again_when_more_come():
    first = splits([member(f"p{n}") for n in range(11)], share=0.3)
    assert list(first.values()).count("test") == 3
    more = [member(name, before=split) for name, split in first.items()] + [
        member(f"new{n}") for n in range(9)
    ]
    later = splits(more, share=0.3)
    assert list(later.values()).count("test") == 6
    assert {name: later[name] for name in first} == first


def test_a_new_pair_that_joins_a_trained_place_and_a_held_back_one_is_refused():
    told = split_members(
        [
            member("a", before="train", shared=["s"]), member("b", before="test", shared=["t"]),
            member("new", shared=["s", "t"]),
        ],
        test_share=0.5,
    )  # fmt: skip
    assert (told["a"], told["b"]) == (("train", ""), ("test", ""))
    assert "joins a place" in told["new"][1]
