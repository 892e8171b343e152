"""A new domain from a file of questions: which columns, which verifier, what lengths, written as a configuration."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from realm.config import make_config
from realm.display import printable
from realm.errors import ConfigError, DataError, ResourceError
from realm.exchange.common import QUESTION_NAMES
from realm.files import write_atomic, writing
from realm.tasks.base import Task, normal
from realm.tasks.hub import is_hub
from realm.tasks.jsonl import NONE, answer_text, contents, renamed
from realm.tasks.paths import CHOICE_NAMES, place_of
from realm.tasks.registry import load_task
from realm.tasks.verify import verifier as make_verifier
from realm.tasks.workers import VerifierPool
from realm.teacher.plan import BYTES_PER_TOKEN

Rows = Sequence[Mapping[str, Any]]
#: Names of columns besides those of imports, in any case; where several are there, only `question` and `answer` win.
_NAMES = {
    "question": (*QUESTION_NAMES["question"], "input", "text", "frage", "aufgabe"),
    "answer": (
        *(*QUESTION_NAMES["answer"], "final_answer", "answerkey", "target", "label", "lösung", "loesung", "antwort"),
    ),
}
#: Two answers that are a choice however few the questions are.
_PAIRS = ({"yes", "no"}, {"true", "false"}, {"ja", "nein"}, {"oui", "non"}, {"sí", "no"}, {"si", "no"})
#: A choice else: at most so many short answers (letters: more), each given so often on average.
_FEW, _LETTERS, _SHORT, _EACH = 10, 26, 40, 10
#: Share of the golds that a verifier of values has to read to be proposed.
_ENOUGH = 0.9
#: What tells a formula from other text, and a Python literal from a formula.
_FORMULA = re.compile(r"\\[a-z]+|[√π]|(?:\d|\b[a-z])\s*[\^=*/+]|[\^=*/+]\s*\d|\(\s*-?\d+\s*,")
_LITERAL = re.compile(r"""\s*(?:b?['"]|[\[{]|\(\)|(?:True|False|None)\s*$)""")
#: A column that no file has.
_ABSENT = "\0"
#: Tokens of our instructions around a question and its routes, and routes that are shown.
_AROUND, _ROUTES = 300, 4

# Every paragraph of such a file is a rule, so that what is said of it stands in the one that is to be replaced.
_RULES = """\
# Rules of {name}

## Opening hours [hours]
- Replace this by what your experts know and a large model does not, a list item for each rule; words in square brackets
  behind a heading are the tags of its rules, for `match: tag`. Then let `guidance.comments` name this file. An example:
  on Sundays the shop is closed, and a return that would end on one ends on the Monday after it.
"""


@dataclass(frozen=True)
class Started:
    """What was proposed: the files written, which column is which, how many of the golds the verifier reads, and why
    it was chosen; and how many rows ask what an earlier one asks, how many of these with another answer."""

    config: Path
    rules: Path
    task: Task
    columns: Mapping[str, str]
    rows: int
    read: int
    why: str = ""
    repeated: int = 0
    contradicted: int = 0


def init(folder: str | Path, source: str, *, question: str | None = None, answer: str | None = None) -> Started:
    """What `realm init` does: write a configuration for the questions of a file or a data set, and a page for rules.

    Args:
        folder: where `<its name>.yaml` and `rules.md` go; nothing that is there is overwritten.
        source: a CSV, JSONL, JSON or Parquet file, or `hf:…`; the configuration refers to it as it is named here.
        question, answer: the columns, as `task.columns` names them; else they are guessed.

    Raises:
        DataError: the file cannot be used, or which column is which cannot be told.
        ResourceError: one of the two files is there already, or the disk refuses.
    """
    folder = Path(folder)
    name = folder.resolve().name or "domain"
    config, rules = folder / f"{name}.yaml", folder / "rules.md"
    for file in (config, rules):
        if file.exists() or file.is_symlink():
            raise ResourceError(f"{file}: is there already, and is not overwritten; choose another folder.")
    if folder.exists() and not folder.is_dir():
        raise ResourceError(f"{folder}: expected a folder, found a file; choose another one.")
    try:
        # As they are: a column may be called as the key that is none.
        raw = [content for _, content in contents(Path(source), {"tags": _ABSENT, "difficulty": _ABSENT})]
    except OSError as error:
        raise DataError(f"{source}: cannot read it ({error.strerror or error}); check the path.") from error
    rows = [content for content in raw if isinstance(content, dict)]
    if len(rows) < len(raw) or not rows:
        raise DataError(f"{source}: expected rows with columns, found {'another kind of rows' if raw else 'none'}.")
    columns = _columns(source, rows, question, answer)
    asked = [renamed(row, source, columns) for row in rows]
    questions = [str(row.get("question") or "") for row in asked]
    golds = [_gold(row) for row in asked]
    verifier, choices, why, readable = _verifier(questions, golds)
    read = sum(readable)
    if not read:
        found = printable(columns.get("answer", "answer"), 60)
        raise DataError(f"{source}: no row has an answer under `{found}`; name its column: --answer COLUMN.")
    task: dict[str, Any] = {"name": "jsonl", "path": str(source)}
    task |= {"columns": columns} if columns else {}
    task |= {"verifier": verifier} | ({"choices": choices} if choices else {})
    missing = len(rows) - read
    task |= {"bad_rows": "skip"} if missing else {}
    notes = {
        "path": "taken from the folder in which realm is called" if not is_hub(source) else "of the Hub, at its newest",
        "columns": "our key: the column of the file",
        "verifier": f"{why}; it reads {read} of {len(rows)} golds",
        "bad_rows": f"{missing} of {len(rows)} rows have no answer that it reads, {_example(golds, readable)}",
    }
    tree = {"run": {"name": name}, "task": task}
    if "${" in str(tree):
        raise DataError(f"{source}: a name or an answer holds ${{…}}, which a configuration replaces; rename it.")
    loaded = load_task(make_config(tree, source))
    text = _yaml(tree, notes, _lengths(verifier, questions), str(rules), any("tags" in row for row in asked))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(rules, _RULES.format(name=printable(name)))
    write_atomic(config, text)
    return Started(
        config,
        rules,
        loaded,
        {"question": "question", "answer": "answer"} | columns,
        len(rows),
        read,
        why,
        *_repeated(questions, golds),
    )


def _columns(source: str, rows: Rows, question: str | None, answer: str | None) -> dict[str, str]:
    """`task.columns`: what has to be said of the columns, guessed where it was not given."""
    keys = list(dict.fromkeys(str(key) for row in rows for key in row))
    for option, given in (("--question", question), ("--answer", answer)):
        paths = place_of(given, keys) if given else ()
        if lost := [path[0] for path in paths if path[0] not in keys]:
            raise DataError(f"{source}: there is no column {lost[0]!a} ({option}); the columns are {_listed(keys)}.")
    texts = [key for key in keys if _mostly(rows, key, str)]
    values = [key for key in keys if _mostly(rows, key, (str, int, float, Decimal, list)) and not _numbers_rows(key)]
    asked = question or _guess(source, "question", [key for key in texts if key != answer], _wordy(rows, texts))
    used = {path[0] for path in place_of(asked, keys)}
    left = [key for key in values if key not in used]
    filled = [key for key in left if sum(row.get(key) not in (None, "") for row in rows) >= _ENOUGH * len(rows)]
    gold = answer or _guess(source, "answer", left, filled)
    if question is None:
        asked = _with_choices(source, rows, asked, gold)
    found = {name: key for name, key in (("question", asked), ("answer", gold)) if name != key}
    table = Path(source).suffix.lower() == ".csv"
    for key in ("id", "kind", "difficulty", "tags"):
        if key in keys and not _fits(rows, key, table):
            found[key] = NONE
    return found


def _guess(source: str, what: str, candidates: Sequence[str], by_look: Sequence[str]) -> str:
    """The one column that can be meant: by its name, else by its look."""
    if what in candidates:
        return what
    named = [key for key in candidates if key.strip().casefold() in _NAMES[what]]
    fitting = named or [key for key in by_look if key in candidates] or candidates
    if len(fitting) == 1:
        return fitting[0]
    found = f"several columns could be it: {_listed(fitting)}" if candidates else "no column could be it"
    raise DataError(f"{source}: which column is the {what}? {found}. Say which: --{what} COLUMN.")


def _mostly(rows: Rows, key: str, kinds: Any) -> bool:
    """Whether most of what stands in a column is of these kinds; a list is an answer where it has one entry."""
    there = [row[key] for row in rows if row.get(key) is not None]
    fit = [value for value in there if isinstance(value, kinds) and not (isinstance(value, list) and len(value) != 1)]
    return bool(there) and 2 * len(fit) > len(there)


def _numbers_rows(key: str) -> bool:
    """Whether a column only tells rows apart, by its name."""
    return key.strip().casefold() in (*QUESTION_NAMES["id"], "nr", "no", "index", "idx", "uuid", "", "split")


def _wordy(rows: Rows, keys: Iterable[str]) -> list[str]:
    """The columns whose texts are of several words."""
    return [key for key in keys if sum(str(row.get(key) or "").count(" ") for row in rows) >= 3 * len(rows)]


def _with_choices(source: str, rows: Rows, asked: str, gold: str) -> str:
    """The question joined with what there is to choose from, where it does not show that itself."""
    beside = next((key for key in CHOICE_NAMES if isinstance(rows[0].get(key), list | dict)), None)
    if beside is None or gold == beside:
        return asked
    found = rows[0][beside]
    listed = found.get("text", list(found.values())) if isinstance(found, dict) else found
    if not isinstance(listed, list) or all(str(line) in str(rows[0].get(asked)) for line in listed):
        return asked
    if all(isinstance(row.get(gold), int) for row in rows):
        raise DataError(
            f"{source}: `{gold}` is the number of one of the {beside}; a prompt shows them as A, B, …: write letters."
        )
    return f"{asked}+{beside}"


def _fits(rows: Rows, key: str, table: bool) -> bool:
    """Whether what stands under a key of ours is what the task reads there; `table`: of a table of texts."""
    values = [row[key] for row in rows if row.get(key) is not None]
    if key == "id":
        ids = {str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)}
        return len(ids) == len(values)
    if table and key != "kind":
        return key == "tags" or all(re.fullmatch(r"\s*-?[0-9]+\s*", value) for value in values)
    return all(isinstance(value, {"kind": str, "difficulty": int, "tags": list}[key]) for value in values)


def _gold(row: Mapping[str, Any]) -> str:
    try:
        return answer_text(row)
    except ValueError:
        return ""


def _repeated(questions: Sequence[str], golds: Sequence[str]) -> tuple[int, int]:
    """How many rows ask what an earlier one asks, and how many of these with another gold."""
    first: dict[str, str] = {}
    again = [first.setdefault(normal(asked), gold) != gold for asked, gold in zip(questions, golds, strict=True)]
    return len(questions) - len(first), sum(again)


def _verifier(questions: Sequence[str], golds: Sequence[str]) -> tuple[str, list[str], str, list[bool]]:
    """The verifier that suits the golds, its choices, why, and whether it reads each gold."""
    there = [gold for gold in golds if gold]
    exact = make_verifier("exact")
    spelled: dict[str, Counter[str]] = {}
    for gold in there:
        spelled.setdefault(exact.key(gold), Counter())[gold] += 1
    choices = sorted(counts.most_common(1)[0][0] for counts in spelled.values())
    told = ", ".join(f"{printable(key, 20)} {counts.total()}" for key, counts in sorted(spelled.items())[:_LETTERS])
    if set(spelled) in _PAIRS:
        return "choice", choices, f"two answers ({told})", _read("choice", choices, questions, golds)
    # Quotes, brackets and names may stand beside a number, so that what is more than one is looked for first.
    literal = 2 * sum(bool(_LITERAL.match(gold)) for gold in there) > len(there)
    if literal and (found := _suiting("python", questions, golds)):
        return "python", [], "Python literals", found
    if found := _suiting("number", questions, golds):
        return "number", [], "numbers", found
    most = _LETTERS if all(len(key) == 1 for key in spelled) else _FEW
    short = all(len(choice) <= _SHORT for choice in choices)
    if 2 <= len(choices) <= most and short and len(there) >= _EACH * len(choices) and "${" not in "".join(choices):
        with suppress(ConfigError):  # they differ by case or punctuation alone
            why = f"a few answers again and again ({told})"
            return "choice", choices, why, _read("choice", choices, questions, golds)
    formula = 2 * sum(bool(_FORMULA.search(gold)) for gold in there) > len(there)
    if formula and (found := _suiting("math", questions, golds)):
        return "math", [], "formulas", found
    why = "neither numbers nor formulas nor a few answers: compared as texts, case and quotes aside"
    numbers = _read("number", [], questions, golds)
    if 2 * sum(numbers) > len(there):
        why = (
            f"compared as texts, since `number` reads only {sum(numbers)} of {len(there)}, not "
            f"{_example(golds, numbers)}: write all as numbers, such as 1234.5, and choose it"
        )
    return "exact", [], why, _read("exact", [], questions, golds)


def _suiting(name: str, questions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """Whether the verifier reads each gold, where it reads enough of them; else nothing."""
    found = _read(name, [], questions, golds)
    return found if sum(found) >= _ENOUGH * sum(map(bool, golds)) and any(found) else []


def _read(name: str, choices: Sequence[str], questions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """Whether the verifier reads each gold; raises `ConfigError` for choices that are none."""
    claims = [(gold, gold, asked) for asked, gold in zip(questions, golds, strict=True)]
    with VerifierPool(name, choices, 5.0) as pool:
        return [verdict.correct for verdict in pool.verify(claims)]


def _example(golds: Sequence[str], readable: Sequence[bool]) -> str:
    """The first gold that the verifier does not read."""
    bad = [gold for gold, fine in zip(golds, readable, strict=True) if gold and not fine]
    return f"e.g. {printable(repr(bad[0]), 60)}" if bad else "it is empty"


def _lengths(verifier: str, questions: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Tokens of context and completion, each with its reason."""
    sizes = sorted(-(-len(question.encode("utf-8", "replace")) // BYTES_PER_TOKEN) for question in questions)
    middle, longest = sizes[len(sizes) // 2], sizes[-1]
    completion = 1024 if verifier == "math" or middle > 400 else 512
    why = "formulas take" if verifier == "math" else "questions this long take" if middle > 400 else "questions take"
    context = -(-(longest + _AROUND + (_ROUTES + 1) * completion) // 1024) * 1024
    return {
        "context": (
            context,
            f"Tokens of the longest question (about {longest}), {_ROUTES} routes and a completion of {completion} "
            "each; routes that do not fit are left out.",
        ),
        "completion": (completion, f"Tokens; {why} about that much reasoning (half of them have {middle} or more)."),
        "teacher": (2 * completion, "a CoT that is longer is cut, and none to learn from"),
    }


def _yaml(
    tree: Mapping[str, Any], notes: Mapping[str, str], lengths: Mapping[str, tuple[int, str]], rules: str, tags: bool
) -> str:
    """The commented configuration; what others wrote is quoted by YAML's own rules, or made printable in a comment."""
    lines = [
        "# What differs from the defaults; `realm train --show-config` prints every key with its meaning.",
        f"run: {{name: {_scalar(tree['run']['name'])}}}",
        "task:",
    ]
    for key, value in tree["task"].items():
        note = f"  # {printable(notes[key])}" if key in notes else ""
        lines.append(f"  {key}: {_scalar(value)}{note}")
    guided = _scalar({"comments": rules, "match": "tag" if tags else "always", "probability": 0.5})
    (context, of_context), (completion, of_completion), (teacher, of_teacher) = (
        lengths[name] for name in ("context", "completion", "teacher")
    )
    return "\n".join(
        [
            *lines,
            "# Fill this in and take the # away: any endpoint that speaks OpenAI's protocol, or a model of your own",
            "# (kind: transformers, model: its folder). The key is read from the environment variable named here.",
            "# teachers:",
            "#   big:",
            "#     kind: openai",
            "#     model: deepseek-chat",
            '#     base_url: "https://api.deepseek.com/v1"',
            "#     api_key_env: DEEPSEEK_API_KEY  # export DEEPSEEK_API_KEY=…; null: no key",
            f"#     sampling: {{max_tokens: {teacher}}}  # {of_teacher}",
            "#     price: {input: 0.27, output: 1.10, currency: USD}  # of 1M tokens, as your vendor has them",
            "# collect: {budget: {cost: 5.00}}  # never passed",
            "guidance: {probability: 0}  # once your experts' rules stand there, instead:",
            f"# guidance: {guided}",
            f"# {of_context}",
            f"model: {{path: Qwen/Qwen2.5-1.5B-Instruct, context: {context}}}",
            f"# {of_completion}",
            f"training: {{rl: {{max_completion_length: {completion}}}}}",
            "",
        ]
    )


def _scalar(value: Any) -> str:
    """One value on one line."""
    plain, escaped = (
        str(yaml.dump(value, Dumper=_OneLine, default_flow_style=True, allow_unicode=shown, sort_keys=False, width=1e9))
        for shown in (True, False)
    )
    # What would act on a terminal stays an escape.
    text = plain if plain.strip("\n.").replace("\n", "").isprintable() else escaped
    return text.removesuffix("\n").removesuffix("\n...")


class _OneLine(yaml.SafeDumper):
    """YAML whose texts are one line each, as a comment needs them."""


_OneLine.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, '"' if "\n" in text else None)
)


def _listed(keys: Sequence[str]) -> str:
    return printable(", ".join(f"`{key}`" for key in keys[:40]), 300) or "none"


def next_command(started: Started) -> str:
    """What to type next, as a shell reads it."""
    return f"realm collect {shlex.quote(os.fspath(started.config))} --dry-run"
