"""Every decoder family of the installed transformers, tried with a tiny random model of its real class.

    OMP_NUM_THREADS=1 python benchmarks/families.py [--only lfm2,qwen3] [--again] [--jobs 2] [--limit 120]

For each name that AutoModelForCausalLM knows: load, a cold start of two steps, an RL step with a group of four,
evaluation at batch 1 and 8 against transformers' `generate`, three samples a question, save, and reload. Rows that are
in benchmarks/results/families.jsonl already are kept; --again tries them anew. The table is docs/measured/families.md.

Each family has a process of its own, forked from one that has imported everything, with limits of time and memory.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
import trl
from transformers import GenerationConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from benchmarks.tiny_families import END, NAMES, PAD, UNTRIED, VOCABULARY, configuration, save, tokenizer
from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.errors import UserError
from realm.method.prompt import Wording
from realm.student.decode import decode
from realm.student.generate import generate
from realm.student.load import load, refuse_settings
from realm.student.prompts import encode
from realm.student.renderer import Renderer
from realm.student.sampling import greedy
from realm.student.ways import taken
from realm.tasks.base import Comment, Question
from realm.tasks.verify import verifier
from realm.tasks.workers import VerifierPool
from realm.traces.base import Given
from realm.traces.examples import examples, tokenize
from realm.traces.pipeline import run_steps
from realm.training.checkpoints import publish
from realm.training.grpo import RouteTrainer, make_grpo_trainer
from realm.training.rewards import RouteReward
from realm.training.settings import hushed
from realm.training.sft import make_sft_trainer
from realm.training.trial import try_out
from realm.training.weighted import training_rows

RESULTS = ROOT / "benchmarks" / "results" / "families.jsonl"
TABLE = ROOT / "docs" / "measured" / "families.md"
LENGTH, CONTEXT = 24, 250
#: Bytes of address space that one family may take beyond what is imported: a configuration may turn out not to be tiny.
MEMORY = 4 * 2**30
#: Ids that end a completion: enough of them for completions to end at different steps.
ENDS = [END, *range(20, 60)]
#: Prompts of unequal lengths, some of them beyond the windows.
PROMPTS = [[60 + (7 * i + 3 * j) % (VOCABULARY - 70) for j in range(4 + 3 * i)] for i in range(8)]


class Sums:
    """A task of a few sums."""

    name = "sums"
    wording = Wording(
        system="", question="{question} {routes} {instruction}" + " Think." * 12,
        route="<route {number}>{route}</route>",
        with_routes="judge", without_routes="answer",
    )  # fmt: skip
    labels: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()

    def __init__(self) -> None:
        self.verifier = verifier("exact")
        self._rows = [Question(f"q{i}", f"{i}+{2 * i}", str(3 * i), kind="sum") for i in range(8)]

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def rows(self, split: str) -> list[Question]:
        return self._rows


class Varied(RouteReward):
    """Rewards that differ within every group, so that there is a gradient."""

    def __call__(self, **columns: Any) -> list[float | None]:
        return [float(i % 2) for i, _ in enumerate(super().__call__(**columns))]


def bank_of(task: Sums) -> Bank:
    """A right and a wrong CoT a question."""
    bank = Bank()
    for question in task.rows("train"):
        texts = [(question.answer, 1), ("1", 0)]
        bank.append(
            [CoT(question.id, f"is {text}", text, label, "t", sample=n) for n, (text, label) in enumerate(texts)]
        )
    return bank


def settings(folder: Path, student: Path) -> Config:
    """A run of two steps of SFT and one of RL."""
    rl = {"steps": 1, "num_generations": 4, "batch_size": 8, "micro_batch_size": 8, "max_completion_length": 64}
    sft = {"steps": 2, "batch_size": 4, "micro_batch_size": 4}
    return Config.model_validate(
        {
            "run": {"name": "run", "dir": str(folder), "seed": 3},
            "model": {"path": str(student), "context": CONTEXT},
            "routes": {"k": 1},
            "training": {"recipe": "realm-r1", "rl": rl, "sft": sft},
        }
    )


def reference(model: PreTrainedModel, prompt: list[int], length: int = LENGTH) -> list[int]:
    """transformers' own greedy completion, of one prompt, by default settings."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        found: Any = model.generate(  # type: ignore[operator]
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            generation_config=GenerationConfig(
                max_new_tokens=length, do_sample=False, eos_token_id=ENDS, pad_token_id=PAD, disable_compile=True
            ),
        )
    finally:
        model.generation_config = own
    return list(found[0, len(prompt) :].tolist())


def evaluated(model: PreTrainedModel) -> dict[str, Any]:
    """Batch 1 = batch 8 = `generate`, and three samples a prompt."""
    fixed: dict[str, Any] = {"pad": PAD, "ends": set(ENDS), "max_new_tokens": LENGTH, "pick": greedy}
    together = decode(model, PROMPTS, [1] * len(PROMPTS), **fixed)
    found: dict[str, Any] = {"way": taken(model), "lengths": len({len(row) for row in together})}
    alone = [decode(model, [prompt], [1], **fixed)[0] for prompt in PROMPTS]
    thrice = decode(model, PROMPTS[:4], [3] * 4, **fixed)
    found["way of samples"] = taken(model)
    if alone != together:
        found["fault"] = "batch 1 and batch 8 differ"
    if thrice != [row for row in together[:4] for _ in range(3)]:
        found["fault"] = "samples differ from one completion"
    try:
        if [reference(model, prompt) for prompt in PROMPTS] != together:
            found["generate"] = "differs"
    except Exception as error:
        found["generate"] = f"fails ({type(error).__name__})"
    texts = [encode(tokenizer(), [{"role": "user", "content": f"{i}+{i} is?"}]) for i in range(3)]
    drawn = [
        generate(model, tokenizer(), texts, max_new_tokens=8, batch_size=size, samples=3, temperature=1.0)
        for size in (3, 9)
    ]
    if drawn[0] != drawn[1]:
        found["fault"] = "samples depend on the batch"
    return found


def attempt(name: str, folder: Path) -> dict[str, Any]:
    """What a family does, stage by stage; `stage` is the last one begun."""
    row: dict[str, Any] = {"name": name, "stage": "configuration"}
    student, goal = folder / "student", folder / "model"
    try:
        # By the settings that its checkpoints come with.
        refuse_settings("student", CONFIG_MAPPING[name]())
    except UserError as error:
        return {**row, "refused": str(error).removeprefix("student: ")}
    except Exception:  # whatever it is, not even a configuration by default can be made; the next step tells
        pass
    try:
        save(name, student)
    except Exception as error:
        return {**row, "untried": f"no tiny model of it could be made: {type(error).__name__}: {error}"[:300]}
    task = Sums()
    bank = bank_of(task)
    config = settings(folder, student)
    try:
        row["stage"] = "load"
        model, words = load(student)
        row["class"] = type(model).__name__
        row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        row["stage"] = "evaluation"
        row |= evaluated(model)
        for rl in (False, True):
            row["stage"] = "rl" if rl else "sft"
            try_out(model, str(student), rl=rl)
            model, words = load(student)
            renderer = Renderer(config, task, bank, words, CONTEXT, seed=3)
            parts: dict[str, Any] = {
                "model": model, "tokenizer": words, "output": str(folder / row["stage"]), "seed": 3, "callbacks": [],
            }  # fmt: skip
            trainer: Any
            if rl:
                reward = Varied(config, renderer.questions, VerifierPool("exact"))
                trainer = make_grpo_trainer(config, renderer=renderer, reward=reward, **parts)
            else:
                given = Given(config, task, bank, renderer)
                count = config.training.sft.steps * config.training.sft.batch_size
                found = examples(run_steps(config.training.sft.traces, given), given, count)
                trainer = make_sft_trainer(config, rows=training_rows(tokenize(renderer, found))[0], **parts)
            trainer.args.save_strategy = "no"
            trainer.train()
            row[row["stage"]] = rl_ways(trainer) if rl else "trained"
            if hasattr(trainer.model.config.get_text_config(), "output_router_logits"):
                row["router"] = "TRL" if trainer.aux_loss_enabled else "left out"
        row["stage"] = "save"
        publish(trainer, goal, base=str(student), dtype="float32")
        row["stage"] = "reload"
        again, _ = load(goal)
        ids = torch.tensor([PROMPTS[3]])
        with torch.no_grad():
            trained = trainer.model.eval()(input_ids=ids, use_cache=False).logits
            kept = again(input_ids=ids, use_cache=False).logits
        if not torch.allclose(trained, kept, atol=1e-5, rtol=1e-4):
            row["fault"] = f"the saved model differs by {float((trained - kept).abs().max()):.1e}"
        flags = [
            json.loads((where / "config.json").read_text()).get("output_router_logits") for where in (student, goal)
        ]
        if (flags[0] or False) != (flags[1] or False):
            row["fault"] = "output_router_logits is not the base's"
        row["stage"] = "done"
    except UserError as error:
        row["refused"] = re.sub(r"\S*/student: |\S*/student", "", str(error)).strip()[:300]
    except Exception as error:
        row["crash"] = f"{type(error).__name__}: {error}"[:300]
        row["where"] = traceback.format_exc()[-1500:]
    return row


def rl_ways(trainer: RouteTrainer) -> dict[str, str]:
    """How completions were sampled and how the update was computed in RL."""
    refused = [reason for reason in trainer._refused.values() if reason]
    sampled = trainer._foreign(None, {})
    return {
        "sampling": "generate of TRL" if sampled else str(taken(trainer.accelerator.unwrap_model(trainer.model))),
        "update": "TRL's" if trainer.aux_loss_enabled or refused or not trainer._checked else "shared",
    }


def child(name: str, folder: str, out: Any) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("realm").addHandler(handler)
    logging.getLogger("realm").propagate = False
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    with hushed():
        row = attempt(name, Path(folder))
    row["said"] = list(dict.fromkeys(said))[:6]
    out.send(row)


def tried(name: str, limit: float) -> dict[str, Any]:
    """The row of a family, from a process of its own that is ended after `limit` seconds."""
    if name in UNTRIED:
        return {"name": name, "untried": UNTRIED[name]}
    fork = multiprocessing.get_context("fork")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=child, args=(name, folder, sender))
        process.start()
        sender.close()
        try:
            row = receiver.recv() if receiver.poll(limit) else None
        except EOFError:
            row = {"name": name, "crash": f"the process ended ({process.exitcode})"}
        process.kill()
        process.join()
    if row is None:
        row = {"name": name, "untried": f"its tiny model took more than {limit:.0f} seconds"}
    return {**row, "seconds": round(time.monotonic() - begun, 1)}


def known_rows() -> dict[str, dict[str, Any]]:
    if not RESULTS.exists():
        return {}
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return {row["name"]: row for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--again", action="store_true", help="try anew what has a row already")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else NAMES
    if unknown := sorted(set(wanted) - set(NAMES)):
        parser.error(f"AutoModelForCausalLM knows no {', '.join(unknown)}")
    rows = known_rows()
    owed = [name for name in wanted if options.again or name not in rows]
    configuration("qwen3")  # what is imported here is not imported in every process
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda name: tried(name, options.limit), owed):
            rows[row["name"]] = row
            print(f"{row['name']:24} {row.get('seconds', 0):6} {outcome(row)}", flush=True)
            lines = [json.dumps(rows[name], ensure_ascii=False) for name in NAMES if name in rows]
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    TABLE.write_text(table(rows), encoding="utf-8")


def outcome(row: dict[str, Any]) -> str:
    """In a few words, what came of a family."""
    for key in ("crash", "fault", "refused", "untried"):
        if key in row:
            return (
                f"{key} at {row['stage']}: {row[key]}" if key != "untried" and "stage" in row else f"{key}: {row[key]}"
            )
    return f"works: {row['way']}/{row['way of samples']}, RL {row['rl']['sampling']}/{row['rl']['update']}"


HEAD = """# Decoder families of transformers

Every name that `AutoModelForCausalLM` of transformers {transformers} knows, tried with TRL {trl} and torch {torch} on a
CPU, by a tiny random model of the real class. Made by `python benchmarks/families.py`; all that is said of each is in
[the rows](../../benchmarks/results/families.jsonl).

*Works* means all of: load, a cold start of two steps, an RL step with groups of four, greedy evaluation with the same
completions at batch 1 and 8, three samples a question, save, and reload with the same scores. How:

- **decoding**, of one completion a prompt / of several. `shared`: prompts are held once for all of their completions;
  `batch`: transformers' cache, ended rows leave; `generate`: transformers' `generate`, prompts of equal length side by
  side; `whole`: no cache, every token is read anew. The first that gives the scores of the forward without a cache is
  taken, found out at first use. RL samples the same way.
- **update**: `shared` forwards each prompt of a group once, `TRL's` once per completion.
- **router**: how the balancing loss of a mixture of experts is computed: `TRL`; `left out` where TRL
  cannot, or the configuration gives that loss no weight.
- **= generate**: whether greedy completions are those of transformers' `generate`; where it fails or differs, what the
  model says without a cache is what counts.

{counts}

| family | outcome | decoding | = generate | update | router | said or refused |
|---|---|---|---|---|---|---|
"""


def table(rows: dict[str, dict[str, Any]]) -> str:
    """docs/measured/families.md"""
    outcomes = Counter(_verdict(rows[name]) for name in NAMES if name in rows)
    works = [rows[name] for name in NAMES if name in rows and _verdict(rows[name]) == "works"]
    decoding = Counter(row["way of samples"] for row in works)
    counts = (
        f"Of {sum(outcomes.values())} families: "
        + ", ".join(f"{count} {verdict}" for verdict, count in outcomes.most_common())
        + ". Those that work decode several completions a prompt by "
        + ", ".join(f"`{way}` ({count})" for way, count in decoding.most_common())
        + f"; {sum(row['rl']['update'] == 'shared' for row in works)} of them share prompts in the update."
    )
    versions = {"transformers": transformers.__version__, "trl": trl.__version__, "torch": torch.__version__}
    text = HEAD.format(counts="\n".join(textwrap.wrap(counts, 118)), **versions)
    return text + "".join(_line(rows[name]) for name in NAMES if name in rows)


def _verdict(row: dict[str, Any]) -> str:
    if row.get("refused") and row["stage"] == "rl":
        return "SFT only"
    for key, verdict in (("crash", "CRASH"), ("fault", "FAULT"), ("refused", "refused"), ("untried", "not tried")):
        if key in row:
            return verdict
    return "works"


def _line(row: dict[str, Any]) -> str:
    decoding = f"{row['way']} / {row['way of samples']}" if "way of samples" in row else ""
    same = row.get("generate", "yes") if decoding else ""
    update = row["rl"]["update"] if isinstance(row.get("rl"), dict) else ""
    said = next((row[key] for key in ("crash", "fault", "refused", "untried") if key in row), "")
    said = re.sub(r"\s+", " ", said).replace("|", "\\|")[:200]
    cells = [f"`{row['name']}`", _verdict(row), decoding, same, update, row.get("router", ""), said]
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    main()
