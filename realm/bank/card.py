"""The README.md of a bank's folder: its format for people, and for `datasets.load_dataset(folder)`."""

from collections.abc import Sequence

import yaml

FORMAT = 2

_TYPES = {
    "sample": "int64",
    "guided": "bool",
    "label": "int64",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "seconds": "float64",
    "escaped": "bool",
}

_TEXT = """
# A bank of chains of thought

Each row of the configuration `cots` is one chain of thought (CoT) that a teacher wrote for a question of `questions`.

```python
from datasets import load_dataset
cots = load_dataset("path/of/this/folder", "cots", split="train")
questions = load_dataset("path/of/this/folder", "questions", split="train")
```

Format {format}. `bank.json`: what the bank was collected with. `cots.jsonl`: one CoT a line, only ever appended to;
`cots-N.parquet`: the CoTs that were compacted, and `questions-N.parquet` the questions at that time; what came later is
in the `.jsonl` files until `realm bank compact` is run again. `questions.jsonl`: the questions with their gold answers.
`comments.jsonl`: the expert comments that teachers were shown. `labels.jsonl`: verdicts that are not yet in the CoTs'
own rows (the last one counts). `ledger.jsonl`: every request and what it cost.

| column | meaning |
|---|---|
| `question_id`, `id`, `sample` | the question; the CoT; its number among those of one teacher for the question |
| `teacher`, `params`, `prompt` | who wrote it; hashes of the sampling parameters and of the messages sent |
| `guided`, `comments` | whether expert comments were in the prompt; which, by the `hash` of `comments.jsonl` |
| `text`, `answer` | the reasoning; its own final answer |
| `label`, `reason` | 1 right, 0 wrong, null not known; why not: an unreadable answer or gold, time, an error |
| `problem` | what is wrong with the answer as such: empty, cut, refused, malformed, no_answer; or nothing |
| `prompt_tokens`, `completion_tokens`, `seconds` | what it took, where the teacher told |
| `meta` | JSON text of whatever else the source says |
| `escaped` | `text` and `answer` are the inside of a JSON string, because UTF-8 cannot hold them (lone surrogates) |
"""


def _features(columns: Sequence[str]) -> list[dict[str, object]]:
    lists = ("comments", "tags")
    return [
        {"name": name, "list": "string"} if name in lists else {"name": name, "dtype": _TYPES.get(name, "string")}
        for name in columns
    ]


def questions_table(parquet: str) -> str:
    """The Parquet file of the questions beside that of the CoTs: `load_dataset` reads all of a folder by one reader."""
    return parquet.replace("cots-", "questions-")


def card(columns: Sequence[str], question_columns: Sequence[str], parquet: str | None, state: str) -> str:
    """The text of README.md.

    Args:
        columns: of a CoT's row, in order.
        question_columns: of a question's row.
        parquet: the Parquet file of the bank, if it has one.
        state: another text for every bank and whatever it holds. `load_dataset` finds what it has read before by the
            folder's name and by this card alone (datasets 5.2), not by its place or its rows.
    """
    files = {"cots": parquet or "cots.jsonl", "questions": questions_table(parquet) if parquet else "questions.jsonl"}
    head = {
        "configs": [
            {
                "config_name": name,
                "description": f"State {state}",
                "data_files": file,
                **({"default": True} if name == "cots" else {}),
            }
            for name, file in files.items()
        ],
        "dataset_info": [
            {"config_name": name, "features": _features(question_columns if name == "questions" else columns)}
            for name in files
        ],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{_TEXT.replace('{format}', str(FORMAT))}"
