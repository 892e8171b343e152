"""Completions decoded ahead, several tokens a forward, against one token a forward: rollouts of a run, and evaluation.

    OMP_NUM_THREADS=1 python benchmarks/ahead.py RUN [--repeats 3] [--steps 6] [--count]

RUN is the folder of a finished run of `realm-zero`, the desk's say: how often guesses come true depends on what its
student writes. For each share p of the routes the batches of some steps are sampled in both ways, in turns, in one
process, after one that warms both up and is not counted; as in a run, the guesses remember the steps before. Then the
validation questions are answered greedily, without routes and with, by a student that remembers nothing. It fails where
the completions are not the same, token for token. `--count` counts forwards alone, which another process on the machine
does not disturb.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import save, seconds, table
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

COLUMNS = {"what": "s", "tokens": "d", "forwards": "d", "ahead": "d", "fewer": ".2f", "s": ".2f", "ahead s": ".2f",
           "ratio": ".2f", "near": "d"}  # fmt: skip
#: Says what was said, given whether to look ahead and the number of the batch.
Say = Callable[[bool, int], list[Any]]


def measured(model: Any, what: str, say: Say, batches: int, repeats: int, *, forget: bool = False) -> dict[str, Any]:
    """The row of some batches; every repeat has others, or a model that remembers none.

    Forwards are all of them: those that read prompts, and of choices made anew.
    """
    forwards, tokens, near = {False: 0, True: 0}, 0, 0
    spent: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(max(1, repeats)):
        times = {False: 0.0, True: 0.0}
        if forget:
            _OF.pop(model, None)
        for batch in range(turn * batches, (turn + 1) * batches):
            found: dict[bool, list[Any]] = {}
            guesses_of(model).reset()
            for ahead in (False, True):

                def count(*_: Any, ahead: bool = ahead) -> None:
                    forwards[ahead] += 1

                def work(ahead: bool = ahead, batch: int = batch, found: Any = found) -> None:
                    found[ahead] = say(ahead, batch)

                hook = model.register_forward_pre_hook(count)
                times[ahead] += seconds(work)
                hook.remove()
            if found[False] != found[True]:
                raise SystemExit(f"{what}, batch {batch}: other completions")
            tokens += sum(map(len, found[True]))
            near += guesses_of(model).near
        for ahead, took in times.items():
            spent[ahead].append(took)
    plain, faster = (statistics.median(spent[ahead]) if repeats else None for ahead in (False, True))
    return {
        "what": what,
        "tokens": tokens,
        "near": near,
        "forwards": forwards[False],
        "ahead": forwards[True],
        "fewer": forwards[False] / forwards[True],
        "s": plain,
        "ahead s": faster,
        "ratio": plain / faster if plain and faster else None,
        "seconds": {"plain": spent[False], "ahead": spent[True]} if repeats else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--count", action="store_true", help="count forwards, once, and tell no times")
    parser.add_argument("--p", type=float, nargs="+", default=[1.0, 0.5, 0.0], help="shares of the routes")
    parser.add_argument("--out", default="ahead", help="name of the file in benchmarks/results")
    options = parser.parse_args()
    repeats = 0 if options.count else options.repeats
    config = load_config(options.run / "config.yaml", [])
    rl = config.training.rl
    task = load_task(config)
    model, tokenizer = load(options.run / "model")
    model.eval()
    renderer = Renderer(config, task, Bank.open(config.bank.path), tokenizer, context_length(model, config))
    settings = GenerationConfig(
        do_sample=True, max_new_tokens=rl.max_completion_length, temperature=rl.temperature, top_p=1.0, top_k=0,
        min_p=0.0, pad_token_id=tokenizer.pad_token_id, eos_token_id=sorted(end_tokens(model, tokenizer)),
        disable_compile=True,
    )  # fmt: skip
    groups = rl.batch_size // rl.num_generations
    asked = question_order(list(renderer.questions), groups * (1 + options.steps * max(1, repeats) * len(options.p)), 0)

    def sampled(ahead: bool, step: int, p: float) -> list[Any]:
        schedule = Schedule(kind="constant", p_start=p)
        here = asked[step * groups : (step + 1) * groups]
        prompts = [list(renderer.render(one, step, 0.0, schedule=schedule).ids) for one in here]
        each = [prompt for prompt in prompts for _ in range(rl.num_generations)]
        return roll_out(model, each, settings, seed=7, step=step, ahead=ahead)

    def answered(ahead: bool, _: int, *, routes: bool) -> list[Any]:
        length = completion_limit(config)
        limit = prompt_limit(model, config, length)
        shown = renderer.routes if routes else None
        found = evaluation_prompts(task.rows("validation"), shown, task, config, tokenizer, limit, config.run.seed)
        size = config.evaluation.batch_size
        made = generate(
            model, tokenizer, [one.ids for one in found], max_new_tokens=length, batch_size=size, ahead=ahead
        )
        return [one.ids for (one,) in made]

    for ahead in (False, True):
        sampled(ahead, 0, options.p[0])
    rows, first = [], 1
    for p in options.p:

        def say(ahead: bool, batch: int, p: float = p, first: int = first) -> list[Any]:
            return sampled(ahead, first + batch, p)

        rows.append(measured(model, f"p {p:g}", say, options.steps, repeats))
        first += options.steps * max(1, repeats)
        save(options.out, rows)
    for routes in (False, True):
        what = "evaluation with routes" if routes else "evaluation"
        rows.append(measured(model, what, partial(answered, routes=routes), 1, repeats, forget=True))
        save(options.out, rows)
    table("rollouts of a run, and greedy evaluation", rows, COLUMNS)


if __name__ == "__main__":
    main()
