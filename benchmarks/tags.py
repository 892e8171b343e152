"""What the tags of a completion cost in tokens: `python benchmarks/tags.py TOKENIZER [COTS.jsonl …]`.

TOKENIZER is a folder that holds one. Measured are right completions: of the desk's training questions, as its rules
work them out, and of each file of questions with `cots` ({text, answer, correct}) the first right CoT of a question.
Tags are what a completion has more than its reasoning and its answer with a line break between them; beside them what
is left with names of one letter (`prompt.think_tag`, `prompt.answer_tag`), and with a last line `#### answer`, no tags.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import fmean

from realm.desk.cases import work_out
from realm.desk.task import DeskTask
from realm.files import read_jsonl
from realm.method.prompt import Tags, target, without_answer
from realm.student.load import load_tokenizer

#: The tags as they are, and those of one letter.
FORMS = {"tags": Tags(), "one letter": Tags("t", "a")}


def desk() -> Iterator[tuple[str, str]]:
    task = DeskTask()
    for question in task.rows("train"):
        found = work_out(task.case(question.id), task.book)
        yield found.text, question.answer


def right(path: Path) -> Iterator[tuple[str, str]]:
    for row in read_jsonl(path):
        yield from [(one["text"], one["answer"]) for one in row["cots"] if one["correct"]][:1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("cots", type=Path, nargs="*")
    parser.add_argument("--rows", type=int, default=500, help="completions of each source at most")
    given = parser.parse_args()
    tokenizer = load_tokenizer(given.tokenizer)

    def tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    print(*(f"{tag} {tokens(tag)}" for tag in ("<think>", "</think>", "<answer>", "</answer>")), sep=", ")
    for name, found in (("desk", desk()), *((path.stem, right(path)) for path in given.cots)):
        rows = [(without_answer(think, answer).strip(), answer) for think, answer in islice(found, given.rows)]
        bare = fmean(tokens(f"{think}\n{answer}") for think, answer in rows)
        line = fmean(tokens(f"{think}\n#### {answer}") for think, answer in rows)
        means = {form: fmean(tokens(target(*row, None, tags)) for row in rows) for form, tags in FORMS.items()}
        print(f"{name}: {len(rows)} completions of {means['tags']:.1f} tokens, mean", end="")
        for form, mean in (*means.items(), ("#### line", line)):
            print(f"; {form} {mean - bare:.1f} ({100 * (mean - bare) / mean:.1f} %)", end="")
        print()


if __name__ == "__main__":
    main()
