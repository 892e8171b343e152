"""The task `gsm8k`: grade-school word problems whose answer is a number.

Reads the plain format of `jsonl` ({"question", "answer": "18"}) and the official one of openai/grade-school-math,
where the answer is a worked solution that ends in `#### 18`.
"""

from collections.abc import Mapping
from typing import Any

from realm.sections import TaskConfig
from realm.tasks.jsonl import JsonlTask, answer_text, load_jsonl


def final_answer(row: Mapping[str, Any]) -> str:
    """The gold of a row: what follows the last `####` of its answer, or all of it where there is none."""
    return answer_text(row).rpartition("####")[2].strip()


def load_gsm8k(config: TaskConfig, seed: int) -> JsonlTask:
    """The task with the verifier `number`; splits and errors as in `load_jsonl`."""
    return load_jsonl(config, seed, name="gsm8k", verifier="number", gold=final_answer)
