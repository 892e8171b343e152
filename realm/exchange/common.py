"""The shapes of common files: the names their keys go by, as mappings, and what to say where these do not suffice."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from realm.errors import DataError
from realm.tasks.paths import CHOICE_NAMES, Place, absent, name_of, place_of, taken

#: Names under which a key of ours is recognised in a row; the first one that is there counts.
QUESTION_NAMES: dict[str, tuple[str, ...]] = {
    "id": ("question_id", "id", "problem_id"),
    "question": ("question", "problem", "instruction", "query", "prompt"),
    "answer": (
        *("gold", "gold_answer", "ground_truth", "reference_answer", "expected_answer", "correct_answer", "answer"),
    ),
    "kind": ("kind",),
    "tags": ("tags",),
    "split": ("split",),
}
#: The same for the keys of a CoT, in an entry of `cots` or in the row of a flat file.
COT_NAMES: dict[str, tuple[str, ...]] = {
    "cot_id": ("cot_id", "id"),
    "text": ("text", "cot", "rationale", "reasoning", "response", "generation", "completion", "generated_solution"),
    "cot_answer": ("cot_answer", "predicted_answer", "prediction", "model_answer", "answer"),
    "correct": ("correct", "is_correct", "label"),
    "source": ("teacher", "model", "generation_model", "generator", "source"),
} | {
    name: (name,)
    for name in (
        *("sample", "guided", "comments", "reason", "problem", "prompt_tokens", "completion_tokens", "seconds"),
        *("params", "prompt", "meta"),
    )
}
CHAT_NAMES = ("messages", "conversations")
#: Every key that a mapping may have, and those that may be joined of several keys of the file.
KEYS = (*QUESTION_NAMES, "cots", "messages", *COT_NAMES)
JOINED = ("question", "text")
#: In a mapping: there is no such key.
NONE = "none"
MAP = "Say which key is which, e.g. bank.mapping: {question: prompt, text: response.content, answer: gold}."
#: Names of lists with a CoT in each entry, and of lists that say which of these are right.
_LISTS = ("generations", "responses", "completions", "outputs", "generation", "response", "completion", "output")
_FLAGS = ("correct", "is_correct", "correctness", "correctness_math_verify")
#: Parts of the names of keys that often hold a CoT.
_LIKELY = re.compile(r"traj|think|reason|trace|solution|respon|output|generat|complet|attempt|answer|text|content")
_INSTRUCTION = "instruction+input"


def recognised(row: Mapping[str, Any], where: str, mapping: Mapping[str, str]) -> dict[str, str]:
    """The mapping with what a row of a common file adds to it; what the user maps stays as it is.

    Raises `DataError` for a row of a harness that holds no CoTs, or whose question cannot be told.
    """
    own = not mapping.keys().isdisjoint(("text", "messages", "cots"))
    if not own and "cots" in row:
        return dict(mapping)
    found: dict[str, str] = {}
    if "resps" in row and ("doc" in row or "filtered_resps" in row):
        found = _of_harness(row, where, mapping)
    elif "instruction" in row and "question" not in row and "problem" not in row:
        found = {"question": _INSTRUCTION} if "input" in row else {}
        if "output" in row and not isinstance(row["output"], list):
            found["text"] = "output"
    if own:
        found = {key: path for key, path in found.items() if key in QUESTION_NAMES}
    elif "text" not in found and not _full(row, COT_NAMES["text"]):
        name = next((name for name in _LISTS if _is_list(row, name)), None)
        if name is not None:
            flags = next((key for key in _FLAGS if isinstance(row.get(key), list)), None)
            found |= {"text": f"{name}.*"} | ({"correct": f"{flags}.*"} if flags else {})
    if not own and row.keys().isdisjoint(CHAT_NAMES):
        for key, names in (("question", QUESTION_NAMES["question"]), ("text", COT_NAMES["text"])):
            # A key that is null says nothing where another one of its kind does.
            full = _full(row, names)
            if key not in found and len(full) == 1 and row[next(name for name in names if name in row)] is None:
                found[key] = full[0]
    return found | dict(mapping)


def _full(row: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [name for name in names if isinstance(row.get(name), str) and row[name].strip()]


def _is_list(row: Mapping[str, Any], name: str) -> bool:
    """Whether a key holds a list of CoTs, or would: null where its name is a plural."""
    found = row.get(name, absent)
    return name.endswith("s") if found is None else _texts(found)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(each is None or isinstance(each, str) for each in value)


def _of_harness(row: Mapping[str, Any], where: str, mapping: Mapping[str, str]) -> dict[str, str]:
    """A row of lm-evaluation-harness's `samples_*.jsonl`."""
    found = {"answer": "target"}
    answers = row["resps"][0] if isinstance(row["resps"], list) and row["resps"] else None
    if "text" not in mapping:
        if not _texts(answers):
            raise DataError(
                f"{where}: expected texts under `resps`, found none; only tasks that generate text have CoTs. If they "
                "lie elsewhere, say where: bank.mapping.text=…."
            )
        found["text"] = "resps.0.*"
    doc = row.get("doc")
    keys = list(doc) if isinstance(doc, dict) else []
    name = next((name for name in QUESTION_NAMES["question"] if name in keys), None)
    if name is not None:
        found["question"] = f"doc.{name}"
    elif "question" not in mapping:
        raise DataError(
            f"{where}: expected a question under `doc`, the keys found are {_listed(keys)}. Say which it is, e.g. "
            f"bank.mapping.question=doc.{_escaped(keys[0]) if keys else 'text'}, or take the prompt that was sent: "
            "bank.mapping.question=arguments.gen_args_0.arg_0."
        )
    metrics = row.get("metrics")
    metric = next((name for name in ("exact_match", "acc") if isinstance(metrics, list) and name in metrics), None)
    # Of several answers to a question a metric does not tell which are right.
    return found | ({"correct": metric} if metric and isinstance(answers, list) and len(answers) == 1 else {})


def unrecognised(row: Mapping[str, Any]) -> str:
    """What to say of a row in which no CoT was found."""
    likely = [(size, path) for path, size in _texts_in(row, ()) if _LIKELY.search(path.lower())]
    # Longest first: reasoning is longer than answers, and names of much shorter ones only confuse.
    likely.sort(key=lambda found: -found[0])
    named = [f"bank.mapping.text={_escaped(path)}" for size, path in likely[:3] if size * 4 >= likely[0][0]]
    return (
        "expected a question with `cots`, a `question` with a `text`, or `messages`; the keys found are "
        f"{_listed(row)}. {MAP}{f' The CoT may be {_or(named)}; a+b joins two.' if named else ''}"
    )


def _texts_in(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Where texts lie in a row, not too deep, and how long the first one there is."""
    if isinstance(value, str):
        yield ".".join(path), len(value)
    elif len(path) < 5 and isinstance(value, dict):
        for key, item in list(value.items())[:50]:
            yield from _texts_in(item, (*path, str(key)))
    elif isinstance(value, list) and value and "*" not in path:
        yield from _texts_in(next((item for item in value if item), None), (*path, "*"))


def inside(key: str, value: Any) -> str:
    """Where a text may lie in what is none, as a mapping writes it: an entry, or the content of the last message."""
    entry, path = (value[-1], f"{key}.-1") if isinstance(value, list) and value else (value, key)
    if isinstance(entry, dict) and entry:
        name = next((name for name in ("content", "value", "text") if name in entry), next(iter(entry)))
        return f"{path}.{_escaped(name)}"
    return f"{key}.0"


def check_guesses(row: Mapping[str, Any], where: str, mapping: Mapping[str, str], read: Container[str]) -> None:
    """Raise `DataError` where another key of the row could be meant than the one that was guessed.

    `read`: the keys of ours that were found in the row, one by one; `mapping`: those about which nothing was guessed.
    """
    asked = mapping.get("question") in (None, _INSTRUCTION)
    for key, what, names, own, guessed in (
        ("text", "CoT", COT_NAMES["text"], ("text",), "text" not in mapping),
        ("question", "question", QUESTION_NAMES["question"], ("question", "problem"), asked),
    ):
        others = _full(row, names) if key in read and guessed else []
        if len(others) > 1 and others[0] not in own:
            raise DataError(
                f"{where}: {' and '.join(f'`{name}`' for name in others)} could each be the {what}. Say which: "
                f"{_or([f'bank.mapping.{key}={name}' for name in others])}, or join them: "
                f"bank.mapping.{key}={'+'.join(others)}."
            )
    label = row.get("label")
    unsaid = "answer" not in read and "correct" not in mapping
    if unsaid and isinstance(label, str) and label.strip().lower() in ("yes", "no", "true", "false"):
        raise DataError(
            f"{where}: `label`, {label!a:.40}, could be the gold or say whether the CoT is right. Say which: "
            "bank.mapping.answer=label or bank.mapping.correct=label."
        )
    if "answer" in read and "answer" not in mapping:
        _check_number(row, where)
    named = mapping.get("question") or next(iter(_full(row, QUESTION_NAMES["question"])), None)
    if "question" in read and asked and named:
        _check_choices(row, where, place_of(named, [*row]))


def _check_choices(row: Mapping[str, Any], where: str, place: Place) -> None:
    """Raise `DataError` where answers to choose from lie beside a question that does not show them."""
    for name in CHOICE_NAMES:
        found = row.get(name)
        inner = found.get("text") if isinstance(found, dict) else None
        lines = found
        if isinstance(found, dict):
            lines = inner if isinstance(inner, list) else list(found.values())
        asked = taken(row, where, place)
        if not lines or not _texts(lines) or not isinstance(asked, str):
            continue
        if not all(line is None or line in asked for line in lines):
            here = name_of(place)
            list_at = f"{name}.text" if isinstance(inner, list) else name
            raise DataError(
                f"{where}: the question under `{here}` does not show what there is to choose from under `{name}`. Join "
                f"them: bank.mapping.question={here}+{list_at}, or leave it out: bank.mapping.question={here}."
            )


def _check_number(row: Mapping[str, Any], where: str) -> None:
    """Raise `DataError` where the gold may be the number of a choice, counted from whatever, and not what it says."""
    key = next((name for name in QUESTION_NAMES["answer"] if name in row), "")
    found = row.get(key)
    choices: list[Any] = next((row[name] for name in CHOICE_NAMES if _texts(row.get(name))), [])
    number = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= len(choices)
    if number and choices and str(found) not in choices:
        raise DataError(
            f"{where}: `{key}`, {found}, may be the number of one of the {len(choices)} choices, which nobody would "
            f"answer with. Write its letter or its text into the file, or say that it is the gold: "
            f"bank.mapping.answer={key}."
        )


def _escaped(text: object) -> str:
    return ascii(str(text))[1:-1]


def _listed(keys: Iterable[object]) -> str:
    return _escaped(", ".join(map(str, keys)))[:300] or "none"


def _or(names: list[str]) -> str:
    return " or ".join(names)
