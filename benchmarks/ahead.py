"""Completions decoded ahead, several tokens a forward, against one token a forward: rollouts of a run, and evaluation.

    OMP_NUM_THREADS=1 python benchmarks/ahead.py RUN [--groups 1 2 4 12] [--repeats 3] [--steps 4]

RUN is the folder of a run of `realm-zero`, the desk's say: how often guesses come true depends on what its student
writes. For batches of so many groups, and for each share p of the routes, the batches of some steps are sampled in both
ways, in turns (every other time the other one first), in one process, after one that warms both up and is not counted.
As in a run, the guesses remember the steps before, of which the first has none. Then the validation questions are
answered greedily, without routes and with, by a student that remembers nothing. *near* are the choices that were made
anew, being within rounding of another one, and *other* the completions that are not the same, token for token, because
one token at a time takes such a choice as rounding has it. Times are those of this thread, which another process on the
machine disturbs least; those of the clock are in the file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import save, table
from transformers import GenerationConfig

from realm.bank.store import Bank
from realm.config import load_config
from realm.evaluation.evaluate import completion_limit
from realm.method.schedule import Schedule
from realm.method.seeds import question_order
from realm.student.generate import end_tokens, generate
from realm.student.guesses import _OF, guesses_of
from realm.student.load import context_length, load, prompt_limit
from realm.student.prompts import evaluation_prompts
from realm.student.renderer import Renderer
from realm.tasks.registry import load_task
from realm.training.rollout import roll_out

COLUMNS = {"what": "s", "rows": "d", "tokens": "d", "forwards": "d", "ahead": "d", "fewer": ".2f", "s": ".2f",
           "ahead s": ".2f", "ratio": ".2f", "near": "d", "other": "d"}  # fmt: skip
#: Says what was said, given whether to look ahead and the number of the batch.
Say = Callable[[bool, int], list[Any]]


def measured(model: Any, what: str, rows: int, say: Say, batches: int, repeats: int) -> dict[str, Any]:
    """The row of some batches; every repeat has others.

    Forwards are all of them: those that read prompts, and of choices made anew.
    """
    forwards, tokens, near, other = {False: 0, True: 0}, 0, 0, 0
    spent: dict[bool, list[float]] = {False: [], True: []}
    clock: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(repeats):
        for times in (spent, clock):
            times[False].append(0.0), times[True].append(0.0)
        for batch in range(turn * batches, (turn + 1) * batches):
            found: dict[bool, list[Any]] = {}
            guesses_of(model).reset()
            for ahead in ((False, True), (True, False))[batch % 2]:

                def count(*_: Any, ahead: bool = ahead) -> None:
                    forwards[ahead] += 1

                hook = model.register_forward_pre_hook(count)
                own, wall = time.thread_time(), time.perf_counter()
                found[ahead] = say(ahead, batch)
                spent[ahead][-1] += time.thread_time() - own
                clock[ahead][-1] += time.perf_counter() - wall
                hook.remove()
            other += sum(plain != faster for plain, faster in zip(found[False], found[True], strict=True))
            tokens += sum(map(len, found[True]))
            near += guesses_of(model).near
    plain, faster = (statistics.median(spent[ahead]) for ahead in (False, True))
    return {
        "what": what,
        "rows": rows,
        "tokens": tokens,
        "near": near,
        "other": other,
        "forwards": forwards[False],
        "ahead": forwards[True],
        "fewer": forwards[False] / forwards[True],
        "s": plain,
        "ahead s": faster,
        "ratio": plain / faster,
        "ratios": [old / new for old, new in zip(spent[False], spent[True], strict=True)],
        "seconds": {"plain": spent[False], "ahead": spent[True]},
        "clock": {"plain": clock[False], "ahead": clock[True]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--groups", type=int, nargs="*", default=[1, 2, 4, 12], help="prompts of a batch")
    parser.add_argument("--answer", type=int, nargs="*", default=[8, 16, 64], help="questions answered side by side")
    parser.add_argument("--length", type=int, help="of completions at most, instead of the configuration's")
    parser.add_argument("--p", type=float, nargs="+", default=[1.0, 0.5, 0.0], help="shares of the routes")
    parser.add_argument("--out", default="ahead", help="name of the file in benchmarks/results")
    options = parser.parse_args()
    repeats = options.repeats
    config = load_config(options.run / "config.yaml", [])
    rl = config.training.rl
    task = load_task(config)
    model, tokenizer = load(options.run / "model")
    model.eval()
    renderer = Renderer(config, task, Bank.open(config.bank.path), tokenizer, context_length(model, config))
    settings = GenerationConfig(
        do_sample=True, max_new_tokens=options.length or rl.max_completion_length, temperature=rl.temperature,
        top_p=1.0, top_k=0, min_p=0.0, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=sorted(end_tokens(model, tokenizer)), disable_compile=True,
    )  # fmt: skip
    each = 1 + options.steps * repeats * len(options.p)
    asked = question_order(list(renderer.questions), max(options.groups, default=0) * each, 0)

    def sampled(ahead: bool, step: int, p: float, groups: int) -> list[Any]:
        schedule = Schedule(kind="constant", p_start=p)
        here = asked[step * groups : (step + 1) * groups]
        prompts = [list(renderer.render(one, step, 0.0, schedule=schedule).ids) for one in here]
        grouped = [prompt for prompt in prompts for _ in range(rl.num_generations)]
        return roll_out(model, grouped, settings, seed=7, step=step, ahead=ahead)

    def answered(ahead: bool, *, routes: bool, size: int) -> list[Any]:
        length = completion_limit(config)
        limit = prompt_limit(model, config, length)
        shown = renderer.routes if routes else None
        found = evaluation_prompts(task.rows("validation"), shown, task, config, tokenizer, limit, config.run.seed)
        made = generate(
            model, tokenizer, [one.ids for one in found], max_new_tokens=length, batch_size=size, ahead=ahead
        )
        return [one.ids for (one,) in made]

    rows = []
    for groups in options.groups:
        for ahead in (False, True):
            sampled(ahead, 0, options.p[0], groups)
        _OF.pop(model, None)
        for number, p in enumerate(options.p):

            def say(ahead: bool, batch: int, p: float = p, groups: int = groups, number: int = number) -> list[Any]:
                return sampled(ahead, 1 + number * options.steps * repeats + batch, p, groups)

            rows.append(measured(model, f"p {p:g}", groups * rl.num_generations, say, options.steps, repeats))
            save(options.out, rows)
            table("rollouts", rows[-1:], COLUMNS)
    for size in options.answer:
        for routes in (False, True):
            what = "evaluation with routes" if routes else "evaluation"

            def answer(ahead: bool, _: int, routes: bool = routes, size: int = size) -> list[Any]:
                if ahead:
                    _OF.pop(model, None)
                return answered(ahead, routes=routes, size=size)

            rows.append(measured(model, what, size, answer, 1, repeats))
            save(options.out, rows)
    table("rollouts of a run, and greedy evaluation", rows, COLUMNS)


if __name__ == "__main__":
    main()
