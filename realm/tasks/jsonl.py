"""The task `jsonl`: any file of questions and answers, judged by a verifier of choice.

One JSON object a line, one array of them, a table (`.csv`, `.parquet`) or a data set (`hf:…`). A row is {"question",
"answer"} and optionally "id", "kind", "difficulty", "tags", or has the names that `task.columns` gives; other keys are
left to others (the bank reads "cots"). Without an id a row is named after its question's text.
"""

import logging
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from realm.display import printable
from realm.errors import ConfigError, DataError
from realm.method import seeds
from realm.method.prompt import Wording
from realm.sections import TaskConfig
from realm.tasks.base import Comment, Question, normal, text_id
from realm.tasks.hints import hinted_wording
from realm.tasks.hub import is_hub
from realm.tasks.paths import absent, place_of, taken
from realm.tasks.rows import read_file
from realm.tasks.tables import csv_rows
from realm.tasks.verify import DEFAULT, Verifier, choices_of, names, of_kind
from realm.tasks.verify import verifier as make_verifier
from realm.tasks.workers import VerifierPool

SPLITS = ("train", "validation", "test")
#: Of the questions at most a fifth are for the test, of the rest a tenth for validation, and never more than these.
_TEST_MAX, _VALIDATION_MAX = 200, 100
#: Golds that are at most so many, so often each on average and of so many characters look like a choice.
_FEW, _EACH, _SHORT = 5, 10, 40
#: Golds held against other questions, fewer of which say nothing, and the share of right ones that is told.
_PAIRS, _PAIRS_LEAST, _FOOLED = 20, 5, 0.9
#: Rows whose columns are named where one is missing.
_MANY = 100
#: In `task.columns`: there is no such key.
NONE = "none"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A JSON object of a file: its line (from 1; its number in an array), its id, and its content."""

    line: int
    id: str
    content: Mapping[str, Any]


def read_rows(path: str | Path, columns: Mapping[str, str] = MappingProxyType({})) -> Iterator[Row]:
    """The rows of a JSON file in UTF-8 (`json_rows`), a table or a data set; every id is unique in the file.

    `columns`: our key -> the file's, as `task.columns`; what lies there is also found under our key.

    Raises `DataError` for a file that is missing or empty, and with the line for one that is torn or no JSON object
    and for an id that is there twice.
    """
    path = Path(path)
    lines: dict[str, int] = {}
    try:
        for number, content in contents(path, columns):
            if columns and isinstance(content, dict):
                content = renamed(content, f"{path}:{number}", columns)
            row = _named(path, number, content, lines)
            if row.id in lines:
                raise DataError(
                    f"{path}:{number}: the id {row.id!r} is in line {lines[row.id]} too; every row needs its own."
                )
            lines[row.id] = number
            yield row
    except OSError as error:
        raise DataError(
            f"{path}: expected a JSONL or CSV file, cannot read it ({error.strerror or error}); check the path."
        ) from error
    if not lines:
        raise DataError(f"{path}: expected one question a row, the file holds none.")


def contents(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, Any]]:
    """The line and the content of each row of a file or a data set, as it is; errors as of `read_rows`."""

    def refuse(error: DataError) -> None:
        raise error

    if path.suffix.lower() == ".csv" and not is_hub(path):
        return csv_rows(path, columns)
    return read_file(path, refuse)


def renamed(content: dict[str, Any], where: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with what lies at the file's keys under ours; `none` is no key."""
    keys = list(map(str, content))
    named = {name: text for name, text in columns.items() if text != NONE or NONE in keys}
    found = {name: taken(content, where, place_of(text, keys)) for name, text in named.items()}
    others = {key: value for key, value in content.items() if key not in columns}
    return others | {name: value for name, value in found.items() if value is not absent}


def _named(path: Path, number: int, content: Any, taken: Container[str]) -> Row:
    if not isinstance(content, dict):
        raise DataError(f"{path}:{number}: expected a JSON object, found {type(content).__name__}.")
    found = content.get("id")
    if found is None:
        # By its text, not its line: a row that is put in above must not give its CoTs to another question.
        name = text_id(str(content.get("question")))
        found = next(each for each in chain([name], (f"{name}#{n}" for n in count(2))) if each not in taken)
    elif isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise DataError(f"{path}:{number}: `id` must be a text or an integer, found {found!r}.")
    return Row(number, str(found), content)


def answer_text(row: Mapping[str, Any]) -> str:
    """The gold answer of a row as text, "" where there is none.

    A number or a boolean is written out, the one entry of a list is the answer, and of a text that ends in a line
    `#### x` (a solution as GSM8K has them) it is x. Raises `ValueError` for what is no one answer.
    """
    found = row.get("answer")
    if isinstance(found, list):
        if len(found) > 1:
            raise ValueError(f"expected one answer, found a list of {len(found)}")
        found = found[0] if found else None
    if found is None or (isinstance(found, float | Decimal) and math.isnan(found)):
        return ""
    if isinstance(found, Decimal):
        return format(found, "f")
    if isinstance(found, bool | int | float):
        return repr(found)
    if not isinstance(found, str):
        raise ValueError(f"expected a text or a number as the answer, found {type(found).__name__}")
    text = found.strip()
    last = text.rpartition("\n")[2]
    return last.removeprefix("####").strip() or text if last.startswith("####") else text


@dataclass(frozen=True)
class JsonlTask:
    """Questions of a file, each with a gold that its verifier accepts."""

    name: str
    wording: Wording
    verifier: Verifier
    labels: tuple[str, ...]
    questions: Mapping[str, Sequence[Question]]
    comments: tuple[Comment, ...] = ()

    def splits(self) -> tuple[str, ...]:
        return tuple(self.questions)

    def rows(self, split: str) -> list[Question]:
        return list(self.questions[split])


def load_jsonl(
    config: TaskConfig,
    seed: int,
    *,
    name: str = "jsonl",
    verifier: str | None = None,
    gold: Callable[[Mapping[str, Any]], str] = answer_text,
) -> JsonlTask:
    """Read, check and split the files of a task; `verifier` overrides the configured one, `gold` reads a row's answer.

    The test questions are those of `test_path`, or `test_size` of `path` (without it a fifth, at most 200); 10 % of the
    rest, at most 100, are for validation. The split depends on the seed and the text of a question alone, so that the
    order of the file does not matter. No question text is in two splits: copies of what is held out are left out of
    training.

    Raises `DataError` for what `read_rows` refuses, for a row without a question, for a row whose gold is missing or
    does not verify against itself (`bad_rows: skip` counts and logs it instead), and for a file too small to split.
    """
    if config.path is None:
        raise DataError(f"task.path: the task {name} needs a JSONL file of training questions.")
    by = verifier or config.verifier_name
    choices = choices_of(by, config.choices)
    columns = {str(name): text for name, text in config.columns.items()}
    files = [(path, list(read_rows(path, columns))) for path in (config.path, config.test_path) if path]
    _check_kinds(names(by), [row.content.get("kind") for _, rows in files for row in rows])
    with VerifierPool(by, choices, config.verifier_timeout) as pool:
        train, *others = (_questions(config, path, rows, pool, gold) for path, rows in files)
        test = others[0] if others else []
        _hold_against_others(config.path, train, pool)
        task_verifier = pool.verifier
    if task_verifier.name == "exact":
        _hint_at_choice(config.path, train, task_verifier)

    def lot(question: Question) -> int:
        return seeds.derive(seed, "split", normal(question.question))

    train.sort(key=lot)
    if config.test_path:
        test.sort(key=lot)
    else:
        size = config.test_size or min(_TEST_MAX, max(1, len(train) // 5))
        if len(train) < size + 2:
            raise DataError(
                f"{config.path}: {len(train)} usable questions are too few to split off task.test_size={size}; lower "
                "it, add questions or name a task.test_path."
            )
        test, train = train[:size], train[size:]
    train = _without(train, test, "test")
    n_validation = min(_VALIDATION_MAX, max(1, len(train) // 10))
    if len(train) < 2:
        raise DataError(f"{config.path}: expected at least 2 questions to train and validate on, found {len(train)}.")
    validation, train = train[:n_validation], _without(train[n_validation:], train[:n_validation], "validation")
    if not train:
        raise DataError(f"{config.path}: every question left to train on is a validation question too; add others.")
    parts = {
        "train": train[: config.max_train],
        "validation": validation[: config.max_test],
        "test": test[: config.max_test],
    }
    return JsonlTask(
        name=name,
        wording=hinted_wording(task_verifier.name, choices),
        verifier=task_verifier,
        labels=tuple(choices),
        questions={split: [replace(item, split=split) for item in parts[split]] for split in SPLITS},
    )


def _check_kinds(verifiers: Iterable[str], kinds: Sequence[Any]) -> None:
    """Raise `ConfigError` where a kind has a verifier, but no question."""
    for kind in verifiers:
        if kind != DEFAULT and kind not in kinds:
            found = ", ".join(dict.fromkeys(printable(repr(one), 40) for one in kinds if one))
            raise ConfigError(
                f"task.verifier: no question is of the kind {printable(repr(kind), 60)}; the kinds are "
                f"{found[:200] or 'none (the column `kind`)'}."
            )


def _questions(
    config: TaskConfig, path: str, rows: Sequence[Row], pool: VerifierPool, gold: Callable[[Mapping[str, Any]], str]
) -> list[Question]:
    """The rows of a file as questions; those without a usable gold are refused or skipped."""
    _check_columns(config, path, rows)
    strange: dict[int, str] = {}
    questions = []
    for row in rows:
        try:
            found = gold(row.content)
        except ValueError as error:
            found, strange[row.line] = "", str(error)
        questions.append(_question(path, row, found))
    verdicts = pool.verify([question.claim(question.answer) for question in questions])
    bad: list[str] = []
    for row, question, verdict in zip(rows, questions, verdicts, strict=True):
        if verdict.correct:
            continue
        by = of_kind(pool.verifier, question.kind).name
        if question.answer and not verdict.failed and by == "choice":
            found = f"the gold {question.answer[:60]!r} is none of {', '.join(config.choices)}"
        elif question.answer:
            found = f"the gold {question.answer[:60]!r} does not verify ({verdict.reason or 'not equal to itself'})"
        else:
            found = strange.get(row.line, "no answer")
        bad.append(f"{path}:{row.line}: {found}, verifier {by}")
    if bad and config.bad_rows == "refuse":
        others = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{others}; mend the rows or set task.bad_rows=skip.")
    for message in bad:
        _LOG.info("skipped %s", message)
    if bad:
        _LOG.warning("%s: skipped %d of %d rows without a usable answer, e.g. %s", path, len(bad), len(rows), bad[0])
    if len(bad) == len(rows):
        raise DataError(f"{path}: no row has a usable answer; the first: {bad[0]}.")
    return [question for question, verdict in zip(questions, verdicts, strict=True) if verdict.correct]


def _hold_against_others(path: str, questions: Sequence[Question], pool: VerifierPool) -> None:
    """Warn of a verifier that takes the golds of other questions for right: it pays for one answer everywhere."""
    half = len(questions) // 2
    pairs = [
        (one, other)
        for one, other in zip(questions, [*questions[half:], *questions[:half]], strict=True)
        if normal(one.answer) != normal(other.answer) and one.kind == other.kind
    ][:_PAIRS]
    verdicts = pool.verify([one.claim(other.answer) for one, other in pairs])
    fooled = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.correct]
    if len(pairs) < _PAIRS_LEAST or len(fooled) < _FOOLED * len(pairs):
        return
    one, other = fooled[0]
    _LOG.warning(
        "%s: given the answer of another question, the verifier %s called it right in %d of %d trials, e.g. %s where "
        "the gold is %s; it pays for the same answer everywhere. Mend it, or choose another task.verifier",
        path, of_kind(pool.verifier, one.kind).name, len(fooled), len(pairs),
        printable(repr(other.answer), 60), printable(repr(one.answer), 60),
    )  # fmt: skip


def _check_columns(config: TaskConfig, path: str, rows: Sequence[Row]) -> None:
    """Raise `DataError` where no row has a question, an answer or another column that is named."""
    for name in dict.fromkeys(["question", "answer", *config.columns]):
        if config.columns.get(name) == NONE or any(name in row.content for row in rows):
            continue
        named = f" ({name}, as task.columns has it)" if name in config.columns else ""
        keys = dict.fromkeys(str(key) for row in rows[:_MANY] for key in row.content if key not in config.columns)
        raise DataError(
            f"{path}: no row has a column `{config.columns.get(name, name)}`{named}; the columns are "
            f"{ascii(', '.join(keys))[1:-1][:200] or 'none'}. Say which it is: task.columns={{{name}: NAME}}."
        )


def _hint_at_choice(path: str, questions: Sequence[Question], verifier: Verifier) -> None:
    """Tell of the verifier `choice` where the golds are a few words again and again."""
    golds = {verifier.key(question.answer): question.answer for question in reversed(questions)}
    choices = sorted(golds.values())
    if not 2 <= len(golds) <= _FEW or len(questions) < _EACH * len(golds) or max(map(len, choices)) > _SHORT:
        return
    try:
        make_verifier("choice", choices)
    except ConfigError:
        return
    written = yaml.safe_dump(choices, default_flow_style=True, allow_unicode=True, width=10**9).strip()
    _LOG.info(
        "%s: %d different golds of %d questions; task.verifier=choice with task.choices=%s reads more forms of them "
        "than `exact`, and tells student and teacher which there are",
        path, len(choices), len(questions), printable(written, 400),
    )  # fmt: skip


def _question(path: str, row: Row, gold: str) -> Question:
    where, content = f"{path}:{row.line}", row.content
    text, kind, difficulty = content.get("question"), content.get("kind") or "", content.get("difficulty") or 0
    tags = content.get("tags") or []
    if not isinstance(text, str) or not text.strip():
        keys = ascii(", ".join(map(str, content)))[1:-1]
        raise DataError(
            f"{where}: expected a text under `question`, found {text!r:.60}; the keys are {keys[:200] or 'none'}. "
            "Mend the row, or say which key holds it: task.columns={question: NAME}."
        )
    if not isinstance(kind, str) or not isinstance(difficulty, int) or not isinstance(tags, list):
        raise DataError(f"{where}: expected `kind` to be a text, `difficulty` an integer and `tags` a list.")
    return Question(row.id, text, gold, kind=kind, difficulty=difficulty, tags=tuple(str(tag) for tag in tags))


def _without(train: list[Question], held_out: list[Question], split: str) -> list[Question]:
    """The training questions that are not among the held-out questions of `split`."""
    texts = {normal(question.question) for question in held_out}
    kept = [question for question in train if normal(question.question) not in texts]
    if len(kept) < len(train):
        first = next(question for question in train if normal(question.question) in texts)
        _LOG.warning(
            "left out %d of %d training questions: they are %s questions too, e.g. %s",
            len(train) - len(kept), len(train), split, printable(repr(first.question), 80),
        )  # fmt: skip
    shared = {question.id for question in kept} & {question.id for question in held_out}
    if shared:
        raise DataError(f"task.test_path: the id {min(shared)!r} is that of a training question too; give it another.")
    return kept
