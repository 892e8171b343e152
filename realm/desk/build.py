"""`realm desk build-base`: make the packaged base model, measure it on the shop's questions, and write its card."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.config import load_config
from realm.desk.base import BATCH, STEPS, build_tokenizer, new_model, pretrain
from realm.desk.book import shop_book
from realm.desk.task import DeskTask
from realm.errors import ResourceError
from realm.evaluation.evaluate import evaluate_directory
from realm.files import writing
from realm.rows.evaluation import Evaluation, Prediction
from realm.run import machine, versions
from realm.run_rows import read_rows
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect

#: The base is measured with routes of which 60 % are right. Questions that the teacher nearly always gets right have
#: too few wrong CoTs even among many samples; a slightly higher ratio makes up for them.
MEASURED_WITH = (
    "bank.samples=32",
    "routes.k=4",
    "routes.selection=error_ratio",
    "routes.error_ratio=0.44",
    "evaluation.batch_size=128",
    "evaluation.max_completion_length=64",
)

Progress = Callable[[int, int], None]


def measure(path: Path, out: Path) -> list[tuple[Evaluation, float]]:
    """Accuracy of a model directory on every held-out split of the shop, without and with routes.

    Each comes with the share of the split's routes that were right: 60 % on `test`, less where no comment can make the
    teacher right.
    """
    config = load_config(None, [*MEASURED_WITH, f"model.path={path}"])
    task = DeskTask()
    with VerifierPool("desk") as pool, tempfile.TemporaryDirectory() as temporary:
        folder = BankFolder.create(Path(temporary) / "bank", bank_info(config, task))
        collect(config, task, folder, pool)
        rows = evaluate_directory(path, config, task, Bank.open(folder.path), pool, out=out)
    shown: dict[str, list[int]] = {}
    for answered in read_rows(out, Prediction):
        shown.setdefault(answered.split, []).extend(route.label for route in answered.shown)
    return [(row, sum(shown[row.split]) / len(shown[row.split])) for row in rows]


def build_base(out: Path, *, seed: int = 0, steps: int | None = None, progress: Progress | None = None) -> Path:
    """Pre-train the base model and write it to `out`, an ordinary Hugging Face model directory with its card.

    Args:
        out: a new or empty folder.
        seed: of the tokenizer's corpus, the weights and the pre-training cases; the packaged model is seed 0.
        steps: optimizer steps; default: those of the packaged model.
        progress: called with (steps done, steps in all).

    Raises:
        ResourceError: `out` is not empty, or cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ResourceError(f"{out}: expected a new or empty folder for the model; choose another --out.")
    steps = steps or STEPS
    started = time.monotonic()
    tokenizer = build_tokenizer(seed)
    model = new_model(tokenizer, seed)

    def report(done: int, total: int, _: float) -> None:
        if progress is not None:
            progress(done, total)

    pretrain(model, tokenizer, seed=seed, steps=steps, progress=report)
    seconds = time.monotonic() - started
    with writing(out), tempfile.TemporaryDirectory(dir=_parent(out)) as name:
        # Measured before it is moved into place: a folder at `out` is a whole model with its card.
        folder = Path(name) / "base"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        rows = measure(folder, Path(name) / "measured")
        card = _card(rows, seed=seed, steps=steps, parameters=model.num_parameters(), seconds=seconds)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if out.exists():
            out.rmdir()
        shutil.move(folder, out)
    return out


def _parent(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _card(
    measured: Sequence[tuple[Evaluation, float]], *, seed: int, steps: int, parameters: int, seconds: float
) -> str:
    rows = [row for row, _ in measured]
    lines = [
        f"| {row.split} | {f'with four routes, {right:.1%} right' if row.routes else 'without routes'} | {row.n} "
        f"| {row.accuracy:.1%} | {row.accuracy_low:.1%} – {row.accuracy_high:.1%} |"
        for row, right in measured
    ]
    kinds = sorted({kind for row in rows for kind in row.by_kind})
    by_kind = [
        f"| {kind} | "
        + " | ".join(
            f"{row.by_kind[kind].accuracy:.0%}" if kind in row.by_kind else "" for row in rows if row.split == "test"
        )
        + " |"
        for kind in kinds
    ]
    found = versions()
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            "---",
            "",
            "# desk-base",
            "",
            f"The untaught student of `realm`'s returns desk: a Qwen3 causal language model of {parameters:,}",
            "parameters (4 layers, width 128) with a byte-level BPE tokenizer and a chat template.",
            "",
            f"It was pre-trained from scratch on {steps * BATCH:,} cases, each with a rule book of its own drawn at",
            "random, visible only through right and wrong CoTs in the prompt. It can read cases, calculate and weigh",
            f"routes; it has never seen the book of the shop ({len(shop_book(0))} rules) that it is to learn.",
            "",
            "Made by",
            "",
            "```",
            f"realm desk build-base --out DIR --seed {seed} --steps {steps}",
            "```",
            "",
            f"in {seconds / 60:.0f} minutes on one core of {machine()} with torch {found['torch']} and transformers",
            f"{found['transformers']}, and measured there on the shop's held-out questions (greedy, 95 % intervals):",
            "",
            "| split | prompt | questions | accuracy | interval |",
            "|---|---|---|---|---|",
            *lines,
            "",
            "By kind of question, split test:",
            "",
            "| kind | without routes | with routes |",
            "|---|---|---|",
            *by_kind,
            "",
            "It knows the desk's few hundred English words and nothing else: it is for trying `realm`, not for use.",
            "",
        ]
    )
