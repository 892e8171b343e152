"""The desk's splits: disjoint, a function of the seed, and what they are said to hold."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from realm.desk.book import RULES, UNCOMMENTED
from realm.desk.cases import HARD_KINDS, KINDS, held_out, out_of_distribution
from realm.desk.task import SIZES, DeskTask


@pytest.fixture(scope="module")
def task() -> DeskTask:
    return DeskTask()


@pytest.fixture(scope="module", params=[False, True], ids=["desk", "desk-hard"])
def tier(request: pytest.FixtureRequest, task: DeskTask) -> DeskTask:
    return DeskTask(hard=True) if request.param else task


def test_splits_are_whole_and_disjoint(tier: DeskTask) -> None:
    texts = {split: {row.question for row in tier.rows(split)} for split in tier.splits()}
    assert {split: len(found) for split, found in texts.items()} == SIZES
    for one, other in combinations(texts, 2):
        assert texts[one].isdisjoint(texts[other])


def test_same_seed_same_rows_other_seed_other_shop() -> None:
    one = DeskTask(5)
    assert one.rows("ood") == DeskTask(5).rows("ood")
    assert one.book != DeskTask(6).book


def test_fewer_questions_of_a_split_are_its_first_ones(task: DeskTask) -> None:
    small = DeskTask(max_train=10, max_test=7)
    for split in task.splits():
        assert small.rows(split) == task.rows(split)[: 10 if split == "train" else 7]


def test_every_gold_verifies_against_itself(tier: DeskTask) -> None:
    for split in tier.splits():
        assert all(tier.verifier(row.answer, row.answer) for row in tier.rows(split))


def test_splits_hold_what_they_say(tier: DeskTask) -> None:
    for split in tier.splits():
        for row in tier.rows(split):
            case = tier.case(row.id)
            uncommented = not UNCOMMENTED.isdisjoint(row.tags)
            assert out_of_distribution(case) == split.endswith("ood")
            assert held_out(case) == split.endswith("ood")
            if split != "train":
                assert uncommented == split.endswith("uncommented")


def test_training_shows_every_rule_and_the_rare_kind_rarely(task: DeskTask) -> None:
    rows = task.rows("train")
    assert {tag for row in rows for tag in row.tags} == set(RULES)
    kinds = Counter(row.kind for row in rows)
    assert set(kinds) == set(KINDS)
    assert 0.04 < kinds["rare"] / len(rows) < 0.12
    assert {row.difficulty for row in rows} == {1, 2, 4}


def test_the_harder_tier_is_of_the_same_shop_and_twice_as_long(task: DeskTask, tier: DeskTask) -> None:
    assert (tier.book, tier.comments) == (task.book, task.comments)
    if tier is task:
        return
    assert {row.kind for row in tier.rows("train")} == set(HARD_KINDS)
    assert {kind for split in tier.splits() for kind in (row.kind for row in tier.rows(split))} == set(HARD_KINDS)
    easy, hard = (sum(row.difficulty for row in one.rows("train")) for one in (task, tier))
    assert hard > 2 * easy


def test_comments_state_every_rule_but_the_uncommented(task: DeskTask) -> None:
    assert {comment.id for comment in task.comments} == set(RULES) - UNCOMMENTED
