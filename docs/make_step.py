"""Write docs/step.md: one step of training line by line, every line executed on a group that a run recorded.

The group is in docs/data/step.json: step 3 of 10 of `realm-r1` on the desk, after 80 steps of SFT.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "step.md"

HEAD = """# One step, line by line

What happens to one question in one step of RL, with real values: the group is one that a run on the desk recorded
(docs/data/step.json: six completions of the tiny student). Every line below is executed by `python docs/make_step.py`,
which writes this page, with the package's own functions; none of it needs torch.
"""

#: What is said, and the lines that are executed; they share their names.
PARTS = (
    (
        "## The question and its CoTs\n\nThe bank holds right and wrong CoTs of teachers for every question; each was "
        "labelled by the task's verifier.",
        """import json
import realm

group = json.load(open("docs/data/step.json"))
print(group["question"], "->", group["gold"])
bank = [realm.Route(**cot) for cot in group["routes"]]
for route in bank:
    print(route.label, route.text)""",
    ),
    (
        "## How much help there is (EAAI)\n\np is the probability that a route stays in the prompt; it falls from 1 to "
        "0 over the run.",
        """schedule = realm.Schedule("cosine", fade_end=0.9)
tau = group["step"] / group["steps"]
print([round(schedule.p(step / 10), 2) for step in range(11)], round(schedule.p(tau), 3))""",
    ),
    (
        "## The routes that are drawn\n\nFour are selected, and each stays with probability p. Seed, question and step "
        "are all that chance rests on: every process, and a resumed run, draws the same.",
        """selection = realm.Selection(k=4, strategy="random", schedule=schedule, granularity="route")
drawn = realm.draw(bank, selection, tau=tau, seed=group["seed"], question_id=group["question_id"], step=group["step"])
print([(route.label, route.answer) for route in drawn.routes], round(drawn.p, 3))""",
    ),
    (
        "## The prompt (MRPV)\n\nThe student sees the question and the routes, not their labels. (The desk's wording "
        "is short, since its student is tiny; `realm.DEFAULT_WORDING` is the one for others.)",
        """from realm.desk.task import WORDING

tags = realm.Tags()
for message in realm.messages(group["question"], drawn.routes, WORDING, tags):
    print(message["role"] + ":", message["content"])""",
    ),
    (
        "## What the student writes\n\nG completions of the one prompt, sampled at temperature 1. Each is parsed; what "
        "cannot be read is a reason, never a guess.",
        """parsed = [realm.parse(item["text"], len(drawn.routes), tags) for item in group["completions"]]
print(group["completions"][5]["text"])
print(parsed[5])""",
    ),
    (
        "## Verdict and reward\n\nThe verifier compares the answer with the gold. The judging of the routes is paid "
        "only where the answer is right: r = format + a · (answer + scores · scoring).",
        """from realm.tasks.verify import verifier

desk = verifier("desk")
labels = [route.label for route in drawn.routes]
rewards = []
for item in parsed:
    correct = item.answer is not None and desk(item.answer, group["gold"])
    found = realm.reward(item, correct, labels, realm.Weights(), "l1")
    rewards.append(found.total)
    print(item.answer, correct, item.scores, "scoring", round(found.scoring, 3), "reward", round(found.total, 3))""",
    ),
    (
        "## Advantages (GRPO)\n\nWhat each completion earned beyond its group's mean, in standard deviations.",
        """from statistics import fmean, stdev

mean, deviation = fmean(rewards), stdev(rewards)
advantages = [(reward - mean) / (deviation + 1e-4) for reward in rewards]
print([round(advantage, 3) for advantage in advantages])""",
    ),
    (
        "## The loss\n\nWith one update a batch the ratio of new to old probabilities is 1 where the gradient is "
        "taken, so that the loss (DAPO's: a mean over all tokens) is the mean of minus the advantages, and its "
        "gradient makes the tokens of the completions with a positive advantage likelier. The wrong one is pushed "
        "down most; of the right ones, the one that judged every route rightly is pushed up most.",
        """tokens = [item["tokens"] for item in group["completions"]]
loss = -sum(advantage * count for advantage, count in zip(advantages, tokens, strict=True)) / sum(tokens)
print(round(loss, 4))""",
    ),
)

FOOT = """
In a run the same functions are called by `student/renderer.py` (prompt), `training/grpo.py` (the step),
`student/scoring.py` (parse, verdict, reward) and TRL's `GRPOTrainer` (advantages and loss), which forwards each prompt
once a group ([engine](measured/engine.md)).
"""


def text() -> str:
    """The page."""
    names: dict[str, Any] = {}
    lines = [HEAD]
    for said, code in PARTS:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(code, "docs/step.md", "exec"), names)  # the lines above
        lines += [said, "", "```python", code, "```", "", "```text", out.getvalue().rstrip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n" + FOOT


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
