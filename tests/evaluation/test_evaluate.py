"""Evaluation: the records and figures of scripted completions, and the whole path over a model directory."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, DataError, ModelError, ResourceError
from realm.evaluation import evaluate as module
from realm.evaluation.evaluate import evaluate_directory, evaluate_model, question_accuracies, summarise
from realm.files import append_jsonl, read_jsonl
from realm.method.prompt import Wording
from realm.rows.base import Place, record
from realm.rows.evaluation import Evaluation, Part, Prediction
from realm.rows.evaluation import Sums as Stated
from realm.run_rows import read_rows
from realm.student.generate import Generation
from realm.tasks.base import Question
from realm.tasks.verify import Verifier, verifier
from realm.tasks.workers import VerifierPool

Build = Callable[..., PreTrainedModel]


@dataclasses.dataclass
class Sums:
    """A task of six sums; `test` has four of them, `ood` two."""

    name: str = "sums"
    wording: Wording = dataclasses.field(
        default_factory=lambda: Wording("", "{question} {routes} {instruction}", "<route {number}> {route}", "J.", "A.")
    )
    verifier: Verifier = dataclasses.field(default_factory=lambda: verifier("number"))
    labels: tuple[str, ...] = ()
    comments: tuple[Any, ...] = ()

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test", "ood")

    def rows(self, split: str) -> list[Question]:
        numbers = {"test": (1, 2, 3, 4), "ood": (5, 6)}.get(split, ())
        return [
            Question(f"q{i}", f"{i} + {i} =", str(2 * i), split, "even" if i % 2 == 0 else "odd", i // 3)
            for i in numbers
        ]


@pytest.fixture
def bank() -> Bank:
    """Two CoTs for every question: a right one, and one that is off by one."""
    made = Bank()
    for i in range(1, 7):
        made.append(CoT(f"q{i}", f"way {off}", str(2 * i + off), int(off == 0), sample=off) for off in (0, 1))
    return made


@pytest.fixture
def config() -> Config:
    made = Config()
    made.routes.k = 2
    made.evaluation.max_completion_length = 40
    made.evaluation.batch_size = 4
    return made


def content(tokenizer: Any, ids: Sequence[int]) -> str:
    """What a prompt says, from its sum on."""
    text = tokenizer.decode(ids)
    return str(text[text.index(" + ") - 1 :])


def script(monkeypatch: pytest.MonkeyPatch, completions: dict[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Let `generate` say these completions for each sum `i + i`; returns the arguments of every call."""
    calls: list[dict[str, Any]] = []

    def generate(_: object, tokenizer: Any, prompts: Sequence[Sequence[int]], **arguments: Any) -> Any:
        calls.append(arguments)
        return [
            [Generation(text, len(text), text.endswith("…")) for text in completions[content(tokenizer, ids)[0]]]
            for ids in prompts
        ]

    monkeypatch.setattr(module, "generate", generate)
    return calls


def answer(value: object, *scores: float) -> str:
    tail = f"<scores>{', '.join(map(str, scores))}</scores>" if scores else ""
    return f"<think>so</think><answer>{value}</answer>{tail}"


WHERE = Place(stage="rl", step=30)


def run(
    config: Config, tokenizer: Any, model: Any, bank: Bank, *, with_routes: bool, task: Any = None, **more: Any
) -> tuple[Evaluation, list[Prediction]]:
    task = task or Sums()
    with VerifierPool("number") as pool:
        return evaluate_model(
            model,
            tokenizer,
            task.rows("test"),
            bank.routes,
            task,
            pool,
            config,
            with_routes=with_routes,
            split="test",
            seed=0,
            where=WHERE,
            **more,
        )


def test_figures_without_routes(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    calls = script(
        monkeypatch,
        {"1": [answer(2)], "2": [answer("4.0")], "3": [answer(7)], "4": ["<think>it goes on and on…"]},
    )
    summary, records = run(config, tokenizer, new_model(), bank, with_routes=False)

    assert summary.accuracy == 0.5
    assert summary.accuracy_low == 0.0
    assert summary.accuracy_high == 1.0
    assert (summary.split, summary.routes, summary.step, summary.n) == ("test", 0, 30, 4)
    assert summary.reasons == {"think_unclosed": 1, "answer_missing": 1}
    assert summary.parse_failures == summary.truncated == 0.25
    assert summary.completion_tokens == pytest.approx((35 + 37 + 35 + 25) / 4)
    assert summary.by_kind == {"even": Part(n=2, accuracy=0.5), "odd": Part(n=2, accuracy=0.5)}
    assert summary.by_difficulty == {"1": Part(n=2, accuracy=0.0)}
    assert summary.routes_per_prompt == summary.routes_dropped == 0
    undefined = ("same_err", "same_err_all", "scoring_accuracy", "auroc", "brier", "f1", "pass_at_n", "maj_at_n")
    assert all(getattr(summary, name) is None for name in undefined)
    assert calls[0]["temperature"] is None
    assert calls[0]["max_new_tokens"] == 40

    assert question_accuracies(records) == {"q1": 1.0, "q2": 1.0, "q3": 0.0, "q4": 0.0}
    assert record(records[2]) == {
        "stage": "rl",
        "round": 0,
        "step": 30,
        "split": "test",
        "routes": 0,
        "question_id": "q3",
        "kind": "odd",
        "difficulty": 1,
        "question": "3 + 3 =",
        "gold": "6",
        "class": None,
        "shown": [],
        "dropped": 0,
        "completions": [
            {
                "text": answer(7),
                "answer": "7",
                "scores": [],
                "correct": False,
                "verdict": "",
                "copied": False,
                "class": None,
                "reasons": [],
                "tokens": 35,
                "truncated": False,
            }
        ],
    }


def test_the_result_of_a_program_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    said = {
        "1": ["<think>a = 1 + 1\nanswer = a</think><answer>3</answer>"],
        "2": ["<think>import os\nanswer = 4</think><answer>4</answer>"],
        "3": ["<think>3 and 3 is 6.</think><answer>6</answer>"],
        "4": ["<think>```python\n4 * 2 + 1\n```</think><answer>8</answer>"],
    }
    script(monkeypatch, said)
    plain, plain_records = run(config, tokenizer, new_model(), bank, with_routes=False)
    assert [row.completions[0].answer for row in plain_records] == ["3", "4", "6", "8"]
    assert (plain.accuracy, plain.executed) == (0.75, None)
    assert "executed" not in record(plain_records[0])["completions"][0]
    config.prompt.execute = True
    summary, records = run(config, tokenizer, new_model(), bank, with_routes=False)
    assert [row.completions[0].answer for row in records] == ["2", None, "6", "9"]
    assert [row.completions[0].executed for row in records] == [True, True, False, True]
    assert (summary.accuracy, summary.executed) == (0.5, 0.75)
    assert summary.reasons == {"program_failed": 1}


def test_figures_with_routes(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    # Scores by label, put in the order in which the routes of each question happen to be shown.
    judged = {"1": (2, 0.9, 0.2), "2": (5, 0.7, 0.6), "3": (7, 0.6, 0.1), "4": (11, 0.3, 0.4)}

    def generate(_: object, tokenizer: Any, prompts: Sequence[Sequence[int]], **___: Any) -> Any:
        texts = []
        for ids in prompts:
            said = content(tokenizer, ids)
            value, positive, negative = judged[said[0]]
            first_is_right = said.index("way 0") < said.index("way 1")
            texts.append(answer(value, *((positive, negative) if first_is_right else (negative, positive))))
        return [[Generation(text, 10, False)] for text in texts]

    monkeypatch.setattr(module, "generate", generate)
    summary, records = run(config, tokenizer, new_model(), bank, with_routes=True)

    assert (summary.routes, summary.routes_per_prompt, summary.accuracy) == (2, 2, 0.25)
    # Three wrong ones: 5 and 7 are the routes' 2·i + 1, 11 is the student's own.
    assert summary.same_err == pytest.approx(2 / 3)
    assert summary.same_err_all == 0.5
    assert [record.completions[0].copied for record in records] == [False, True, True, False]
    # Judged rightly: .9 .2, .7 not .6, .6 .1, not .3 but .4 → 6 of 8.
    assert summary.scoring_accuracy == 0.75
    # Positives .9 .7 .6 .3 against negatives .2 .6 .1 .4: 4 + 4 + 3.5 + 2 of 16.
    assert summary.auroc == pytest.approx(13.5 / 16)
    # (.01 + .04) + (.09 + .36) + (.16 + .01) + (.49 + .16) over 8
    assert summary.brier == pytest.approx(1.32 / 8)
    assert summary.parse_failures == 0
    assert {route.label for route in records[0].shown} == {0, 1}


def test_sums_that_completions_state_are_a_figure_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    works = [f"<think>{work}</think><answer>2</answer>" for work in ("1 + 1 = 2. 5 - 4 = 2.", "3 - 1 = 2.", "", "Two.")]
    script(monkeypatch, {str(n): [text] for n, text in enumerate(works, start=1)})
    summary, _ = run(config, tokenizer, new_model(), bank, with_routes=False)
    assert (summary.sums, summary.true_sums) == (3, pytest.approx(2 / 3))
    assert summary.true_sums_low is not None and summary.true_sums_high is not None
    assert summary.true_sums_low <= 0.5 < summary.true_sums_high == 1.0
    assert summary.by_operator == {"+": Stated(n=1, true=1.0), "-": Stated(n=2, true=0.5)}
    script(monkeypatch, {str(n): [answer(2)] for n in range(1, 5)})
    summary, _ = run(config, tokenizer, new_model(), bank, with_routes=False)
    assert (summary.sums, summary.true_sums, summary.true_sums_low, summary.by_operator) == (0, None, None, {})


def test_missing_scores_are_maximally_wrong(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    script(monkeypatch, {str(i): [answer(2 * i)] for i in range(1, 5)})
    summary, _ = run(config, tokenizer, new_model(), bank, with_routes=True)
    assert (summary.accuracy, summary.scoring_accuracy, summary.auroc, summary.brier) == (1, 0, 0, 1)
    assert summary.reasons == {"scores_missing": 4}
    assert summary.same_err is None
    assert summary.same_err_all == 0


def test_several_samples(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    config.evaluation.samples, config.evaluation.temperature = 3, 0.7
    calls = script(
        monkeypatch,
        {
            "1": [answer(2), answer(2), answer(3)],
            "2": [answer(5), answer(5), answer(4)],
            "3": [answer(1), answer(2), answer(3)],
            "4": [answer(8), answer(8), answer(8)],
        },
    )
    summary, records = run(config, tokenizer, new_model(), bank, with_routes=False)
    assert (calls[0]["samples"], calls[0]["temperature"]) == (3, 0.7)
    assert question_accuracies(records) == {"q1": pytest.approx(2 / 3), "q2": pytest.approx(1 / 3), "q3": 0, "q4": 1}
    assert summary.accuracy == pytest.approx((2 / 3 + 1 / 3 + 0 + 1) / 4)
    assert (summary.n, summary.samples, summary.pass_at_n, summary.maj_at_n) == (4, 3, 0.75, 0.5)


def test_macro_f1_where_answers_are_classes(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    script(monkeypatch, {"1": [answer(2)], "2": [answer("4.0")], "3": [answer(4)], "4": [answer("?")]})
    task = Sums(labels=("2", "4", "6", "8"))
    summary, records = run(config, tokenizer, new_model(), bank, with_routes=False, task=task)
    # 2: F1 1. 4: TP 1, FP 1 → 2/3. 6 and 8: never predicted → 0.
    assert summary.f1 == pytest.approx((1 + 2 / 3) / 4)
    assert [record.completions[0].class_ for record in records] == ["2", "4", "4", None]


def test_a_verifier_that_fails_is_counted(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    script(monkeypatch, {str(i): [answer(2 * i)] for i in range(1, 5)})
    pool = VerifierPool("number")

    def broken(answer: str, gold: str, question: str) -> bool:
        assert any((gold, question) == (row.answer, row.question) for row in Sums().rows("test"))
        if answer == "4":
            raise RuntimeError("broken")
        return True

    monkeypatch.setattr(pool, "_verifier", broken)
    task = Sums()
    summary, records = evaluate_model(
        new_model(),
        tokenizer,
        task.rows("test"),
        None,
        task,
        pool,
        config,
        with_routes=False,
        split="test",
        seed=0,
        where=WHERE,
    )
    assert (summary.accuracy, summary.verifier_failures) == (0.75, 1)
    assert records[1].completions[0].verdict == "error: RuntimeError: broken"


def test_answers_that_the_verifier_cannot_read_are_a_figure_of_their_own(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build
) -> None:
    """Neither a failure of the verifier nor one of the parser, nor an answer that is not there."""
    missing = "<think> x </think>"
    script(monkeypatch, {"1": [answer(2)], "2": [answer("some\x1b[1m")], "3": [answer("some\x1b[1m")], "4": [missing]})
    task = Sums()
    with VerifierPool("number") as pool:
        summary, _ = evaluate_model(
            new_model(),
            tokenizer,
            task.rows("test"),
            None,
            task,
            pool,
            config,
            with_routes=False,
            split="test",
            seed=0,
            where=WHERE,
        )
    assert (summary.accuracy, summary.verifier_failures, summary.parse_failures) == (0.25, 0, 0.25)
    assert (summary.unreadable_answers, summary.unreadable_examples) == (0.5, ("“some\\x1b[1m”",))


def test_a_summary_can_be_made_again_from_the_saved_records(
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
    tokenizer: PreTrainedTokenizerFast,
    new_model: Build,
    bank: Bank,
    tmp_path: Path,
) -> None:
    script(monkeypatch, {str(i): [answer(2 * i + i % 2, 1, 0)] for i in range(1, 5)})
    summary, records = run(config, tokenizer, new_model(), bank, with_routes=True)
    append_jsonl(tmp_path / Prediction.FILE, *map(record, records))
    assert summarise(list(read_rows(tmp_path, Prediction)), config.evaluation.bootstrap, 0) == summary


def test_no_questions(config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build) -> None:
    with VerifierPool("number") as pool, pytest.raises(DataError, match="split empty"):
        evaluate_model(
            new_model(),
            tokenizer,
            [],
            None,
            Sums(),
            pool,
            config,
            with_routes=False,
            split="empty",
            seed=0,
            where=WHERE,
        )


def directory(
    model: Path, config: Config, bank: Bank | None, out: Path, task: Any = None, **more: Any
) -> list[Evaluation]:
    with VerifierPool("number") as pool:
        return evaluate_directory(model, config, task or Sums(), bank, pool, out=out, **more)


def test_whole_path_over_a_model_directory(model_directory: Path, config: Config, bank: Bank, tmp_path: Path) -> None:
    config.evaluation.samples = 2
    seen: list[tuple[int, int]] = []
    out = tmp_path / "deep" / "out"
    rows = directory(
        model_directory, config, bank, out, stage="rl", step=9, progress=lambda done, all_: seen.append((done, all_))
    )

    assert [(row.split, row.routes, row.n) for row in rows] == [
        ("test", 0, 4),
        ("test", 2, 4),
        ("ood", 0, 2),
        ("ood", 2, 2),
    ]
    assert all((row.stage, row.round, row.step) == ("rl", 0, 9) for row in rows)
    assert list(read_rows(out, Evaluation)) == rows
    assert [row.autonomy_gap for row in rows] == [None, 0.0, None, 0.0]
    reach = 1 - 0.025 ** (1 / rows[1].n)  # no question differs, of so few
    assert (rows[1].autonomy_gap_low, rows[1].autonomy_gap_high) == pytest.approx((-reach, reach))
    predictions = read_jsonl(out / "predictions.jsonl")
    assert [row["question_id"] for row in predictions] == ["q1", "q2", "q3", "q4"] * 2 + ["q5", "q6"] * 2
    assert all(len(row["completions"]) == 2 and row["stage"] == "rl" for row in predictions)
    assert seen == sorted(seen)
    assert seen[-1] == (12, 12)


def test_autonomy_gap(
    monkeypatch: pytest.MonkeyPatch, model_directory: Path, config: Config, bank: Bank, tmp_path: Path
) -> None:
    def generate(_: object, tokenizer: Any, prompts: Sequence[Sequence[int]], **___: Any) -> Any:
        # Right with routes; without them only the even sums.
        numbers = [(int(said[0]), "way" in said) for said in (content(tokenizer, ids) for ids in prompts)]
        return [[Generation(answer(2 * i if routes or i % 2 == 0 else 0), 5, False)] for i, routes in numbers]

    monkeypatch.setattr(module, "generate", generate)
    rows = directory(model_directory, config, bank, tmp_path / "out")
    assert rows[1].autonomy_gap == 0.5
    assert rows[1].autonomy_gap_low is not None and 0 <= rows[1].autonomy_gap_low <= 0.5
    assert rows[1].autonomy_gap_high is not None and 0.5 <= rows[1].autonomy_gap_high <= 1


def test_the_same_model_twice_says_the_same(model_directory: Path, config: Config, bank: Bank, tmp_path: Path) -> None:
    config.evaluation.samples = 2
    first = directory(model_directory, config, bank, tmp_path / "a")
    assert directory(model_directory, config, bank, tmp_path / "b") == first
    assert (tmp_path / "a" / "predictions.jsonl").read_text() == (tmp_path / "b" / "predictions.jsonl").read_text()


def test_evaluating_again_replaces_only_its_own_stage(
    model_directory: Path, config: Config, bank: Bank, tmp_path: Path
) -> None:
    config.evaluation.splits = ["ood"]
    directory(model_directory, config, None, tmp_path, stage="base")
    directory(model_directory, config, None, tmp_path)
    directory(model_directory, config, None, tmp_path)
    assert [row["stage"] for row in read_jsonl(tmp_path / "evaluations.jsonl")] == ["base", "final"]
    assert [row["stage"] for row in read_jsonl(tmp_path / "predictions.jsonl")] == ["base"] * 2 + ["final"] * 2


def test_an_evaluation_that_does_not_end_leaves_the_earlier_one(
    model_directory: Path, config: Config, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.evaluation.splits = ["ood"]
    out = tmp_path / "out"
    directory(model_directory, config, bank, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    evaluate = module.evaluate_model

    def stopped(*args: Any, with_routes: bool, **more: Any) -> Any:
        if with_routes:
            raise KeyboardInterrupt
        return evaluate(*args, with_routes=with_routes, **more)

    monkeypatch.setattr(module, "evaluate_model", stopped)
    with pytest.raises(KeyboardInterrupt):
        directory(model_directory, config, bank, out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_files_that_cannot_be_added_to_are_told_before_the_work(
    model_directory: Path, config: Config, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "predictions.jsonl").write_text("torn\n{}\n")
    monkeypatch.setattr(module, "evaluate_model", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(DataError, match=r"predictions\.jsonl:1"):
        directory(model_directory, config, bank, tmp_path)


@pytest.mark.parametrize("routes", ["no bank", "empty bank", "k = 0"])
def test_without_routes_to_show_there_is_one_pass(
    routes: str, model_directory: Path, config: Config, bank: Bank, tmp_path: Path
) -> None:
    if routes == "k = 0":
        config.routes.k = 0
    shown = {"no bank": None, "empty bank": Bank(), "k = 0": bank}[routes]
    rows = directory(model_directory, config, shown, tmp_path)
    assert [(row.split, row.routes) for row in rows] == [("test", 0), ("ood", 0)]


def test_unknown_split(model_directory: Path, config: Config, bank: Bank, tmp_path: Path) -> None:
    config.evaluation.splits = ["tset"]
    with pytest.raises(ConfigError, match=r"no split tset; it has train, validation, test, ood"):
        directory(model_directory, config, bank, tmp_path / "out")
    config.evaluation.splits = ["validation"]
    with pytest.raises(DataError, match="split validation"):
        directory(model_directory, config, bank, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_context_too_short_for_a_question_names_it_and_writes_nothing(
    model_directory: Path, config: Config, bank: Bank, tmp_path: Path
) -> None:
    class Long(Sums):
        def rows(self, split: str) -> list[Question]:
            rows = super().rows(split)
            return [dataclasses.replace(row, question=row.question * 100) if row.id == "q6" else row for row in rows]

    with pytest.raises(ModelError, match=r"question q6: .* even without routes"):
        directory(model_directory, config, bank, tmp_path / "out", Long())
    config.model.context = 40
    with pytest.raises(ModelError, match="a context of 40 tokens has no room"):
        directory(model_directory, config, bank, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_routes_that_do_not_fit_are_dropped_and_counted(
    model_directory: Path, config: Config, bank: Bank, tmp_path: Path
) -> None:
    config.model.context = 40 + len("<|1 + 1 =<route 1> way 0 J.<|") + 4
    rows = directory(model_directory, config, bank, tmp_path)
    assert [(row.routes_per_prompt, row.routes_dropped) for row in rows] == [(0, 0), (1, 1)] * 2


def test_full_disk(
    model_directory: Path, config: Config, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match=r"predictions\.jsonl: cannot write \(No space left"):
        directory(model_directory, config, bank, tmp_path)


def test_kinds_have_verifiers_of_their_own_and_classes_where_theirs_is_choice(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    by = verifier('{"default": "choice", "odd": "number"}', ("4", "8"))
    task = Sums(verifier=by, labels=("4", "8"))
    script(monkeypatch, {"1": [answer("2.0")], "2": [answer("(4)")], "3": [answer(8)], "4": [answer("4")]})
    with VerifierPool(by.name, task.labels) as pool:
        summary, records = evaluate_model(
            new_model(), tokenizer, task.rows("test"), bank.routes, task, pool, config,
            with_routes=False, split="test", seed=0, where=WHERE,
        )  # fmt: skip
    assert [row.completions[0].correct for row in records] == [True, True, False, False]
    assert [(row.class_, row.completions[0].class_) for row in records] == [
        (None, None), ("4", "4"), (None, None), ("8", "4"),
    ]  # fmt: skip
    assert summary.f1 == pytest.approx(1 / 3), "of 4: 2/3, of 8: 0; the 8 that answers an odd one is of no class"


def test_the_stop_temperature_is_that_of_evaluations(
    monkeypatch: pytest.MonkeyPatch, config: Config, tokenizer: PreTrainedTokenizerFast, new_model: Build, bank: Bank
) -> None:
    calls = script(monkeypatch, {str(number): [answer(2)] for number in range(1, 5)})
    monkeypatch.setattr(module, "stop_of", lambda config, tokenizer: (7, config.evaluation.stop_temperature))
    config.evaluation.stop_temperature = 0.5
    run(config, tokenizer, new_model(), bank, with_routes=False)
    assert [call["stop"] for call in calls] == [(7, 0.5)]
