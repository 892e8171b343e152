"""The clerk as instructor: new cases on the rules that a student missed, with the errors of its own CoTs."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from realm.desk.book import habit_book, stated
from realm.desk.cases import KINDS, Case, out_of_distribution, random_case, read_case, tell, work_out
from realm.desk.clerk import Writing, criticise, write_cot, write_example, write_exercise
from realm.desk.task import DeskTask
from realm.method.seeds import rng
from realm.tasks.base import Question


@pytest.fixture(scope="module")
def task() -> DeskTask:
    return DeskTask(max_test=3)


def instruct(
    task: DeskTask, row: Question, *, shown: Collection[str] = (), response: str = "", right: str = "", number: int = 0
) -> tuple[Case, Writing]:
    return write_example(
        task.case(row.id),
        response=response,
        right=right,
        book=task.book,
        habit=habit_book(task.seed),
        shown=shown,
        fresh=task.fresh,
        source=rng(0, "instruct", row.id, number),
    )


def share_right(task: DeskTask, rows: list[Question], **shown: bool) -> float:
    """Share of examples whose answer is that of the shop's book."""
    right = 0
    for row in rows:
        solution = work_out(task.case(row.id), task.book)
        case, written = instruct(
            task,
            row,
            shown=row.tags if shown.get("comments") else (),
            right=solution.text if shown.get("right") else "",
        )
        right += written.answer == work_out(case, task.book).answer
    return right / len(rows)


def test_new_cases_are_of_the_same_kind_and_on_the_same_rules(task: DeskTask) -> None:
    whole = DeskTask()
    told = {row.question for split in whole.splits() for row in whole.rows(split)}
    for row in task.rows("train")[:150]:
        case, _ = instruct(task, row, shown=row.tags)
        assert case.kind == task.case(row.id).kind
        assert set(work_out(case, task.book).rules) == set(row.tags), "all are missed by an empty response"
        assert tell(case) not in told, "nor in a split that max_test cuts short"
        assert not out_of_distribution(case)


def test_the_rule_that_the_student_missed_comes_again(task: DeskTask) -> None:
    """Of two rules of which the response states one rightly, the other is in every example, that one only in some."""
    row = next(row for row in task.rows("train") if row.kind == "left" and len(row.tags) == 2)
    window, bonus = row.tags
    days = task.book[window]
    item = window.partition(":")[2]
    response = f"By the book, a {item} has {days} days. A member gets 99 more days. So 1."
    found = [instruct(task, row, shown=row.tags, response=response, number=number)[0] for number in range(40)]
    assert all(case.member for case in found)
    response = f"A {item} has 99 days. A member gets {task.book[bonus]} more days. So 1."
    found = [instruct(task, row, shown=row.tags, response=response, number=number)[0] for number in range(40)]
    assert {case.item for case in found} == {item}
    assert {case.member for case in found} == {True, False}


def test_examples_err_as_often_as_cots(task: DeskTask) -> None:
    rows = [row for row in task.rows("train") if not any(tag.startswith("mark") for tag in row.tags)][:600]
    guided, unguided = share_right(task, rows, comments=True), share_right(task, rows)
    for shown, share in ((True, guided), (False, unguided)):
        cots = [
            write_cot(
                task.case(row.id),
                book=task.book,
                habit=habit_book(task.seed),
                shown=[tag for tag in row.tags if shown],
                source=rng(0, "cot", row.id),
            ).answer
            == row.answer
            for row in rows
        ]
        assert abs(share - sum(cots) / len(cots)) < 0.08
    assert guided > unguided + 0.4


def test_a_right_response_tells_the_rules(task: DeskTask) -> None:
    rows = task.rows("train")[:300]
    assert share_right(task, rows, right=True) > 0.9 > 0.5 > share_right(task, rows)


def test_a_wrong_rule_in_a_right_response_is_believed(task: DeskTask) -> None:
    row = next(row for row in task.rows("train") if row.kind == "bin")
    item = row.tags[0].partition(":")[2]
    _, written = instruct(task, row, right=f"By the book, a {item} goes to bin pearl 49. So pearl 49.")
    assert written.answer == "pearl 49"


def test_an_exercise_rests_on_what_the_passage_says(task: DeskTask) -> None:
    """Whatever the shop's own book says: the passage is believed."""
    answers = set()
    for number in range(60):
        told = stated("A lamp goes to bin pearl 49. A gift never comes back.")
        case, written = write_exercise(
            told, habit=habit_book(0), kinds=task.kinds, fresh=task.fresh, source=rng(0, "exercise", number)
        )
        assert case.item == "lamp" or case.mark == "gift"
        assert task.fresh(case)
        answers.add((case.ask if case.mark is None else case.mark, written.answer))
    assert {("bin", "pearl 49"), ("gift", "no")} <= answers
    assert ("bin", task.book["bin:lamp"]) not in answers


def test_a_critique_names_the_rule_that_the_clerk_misses(task: DeskTask) -> None:
    row = next(row for row in task.rows("train") if row.kind == "bin")
    item = row.tags[0].partition(":")[2]

    def critique(response: str) -> str:
        said, written = criticise(
            task.case(row.id),
            response=response,
            book=task.book,
            habit=habit_book(0),
            shown=row.tags,
            source=rng(0, "c"),
        )
        assert written.answer == row.answer
        return said

    assert critique(f"A {item} goes to bin pearl 49. So pearl 49.") == f"not so, a {item} goes to bin {row.answer}."
    assert critique(f"A {item} goes to bin {row.answer}. So {row.answer}0.") == "a sum is wrong."


def test_a_told_case_is_read_back(task: DeskTask) -> None:
    source = rng(0, "told")
    for number in range(300):
        case = random_case(KINDS[number % len(KINDS)], source)
        assert read_case(tell(case)) == case
    assert read_case(tell(case) + " Please.") is None
    assert read_case("") is None


def test_an_example_is_a_function_of_its_source(task: DeskTask) -> None:
    row = task.rows("train")[0]
    assert instruct(task, row) == instruct(task, row)
    assert len({instruct(task, row, number=number)[0] for number in range(5)}) > 1
