"""The packaged base model, made: a tiny causal LM that can use routes but cannot know the shop's book.

    python benchmarks/desk_base.py --out models/desk-base --seed 1

Pre-training cases come from random rule books, a new one for every example, so that a rule shows only through the right
and wrong CoTs in the prompt. What the model can learn is the desk's language and arithmetic, to weigh routes against
each other, and to guess a rule where no route states it. The shop's own book and habit are never drawn on.

The result is an ordinary Hugging Face model directory (Qwen3 classes, byte-level BPE tokenizer and chat template) with
a card that says what was measured. The packaged one is of seed 0. One of another `--width` has the packaged one's
tokenizer, token for token, so that it can be a mentor or an expert beside it:

    python benchmarks/desk_base.py --out models/desk-mentor --width 256
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    get_cosine_schedule_with_warmup,
)

import realm.desk
from realm.bank.folder import BankFolder
from realm.bank.store import Bank
from realm.cli.live import progress_bar
from realm.config import load_config
from realm.desk.book import random_book, shop_book
from realm.desk.cases import KINDS, Case, answerable, random_case, tell, work_out
from realm.desk.clerk import phrase, write_cot
from realm.desk.task import WORDING, DeskTask
from realm.errors import ResourceError
from realm.evaluation.evaluate import evaluate_directory
from realm.files import writing
from realm.method.prompt import Tags, messages, target
from realm.method.routes import Route
from realm.method.seeds import derive, rng
from realm.rows.evaluation import Evaluation, Prediction
from realm.run import machine, versions
from realm.run_rows import read_rows
from realm.tasks.workers import VerifierPool
from realm.teacher.collect import bank_info, collect

#: Where the packaged weights live.
PACKAGED = Path(realm.desk.__path__[0]) / "base"
STEPS = 2000
BATCH = 48
LEARNING_RATE = 3e-3
CONTEXT = 512
WIDTH, HEAD = 128, 32
VOCABULARY = 1024
MAX_ROUTES = 4
BUCKET = 16  # batches whose examples are sorted by length together
#: Loss weight of prompt tokens: reading CoTs, right and wrong, teaches the language; their errors are not to be copied.
PROMPT_WEIGHT = 0.1

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
SURFACE = ("<think>", "</think>", "<answer>", "</answer>", "<scores>", "</scores>", "</route>")


@dataclass(frozen=True)
class Example:
    """One pre-training example: the chat messages of the prompt and the right completion."""

    prompt: list[dict[str, str]]
    completion: str


def _answerable_case(book: dict[str, str], source: random.Random) -> Case:
    while True:
        case = random_case(source.choice(KINDS), source)
        if answerable(case, book):
            return case


def example(seed: int, index: int) -> Example:
    """The pre-training example number `index`, a pure function of the seed."""
    source = rng(seed, "desk", "base", index)
    book, habit = random_book(source), random_book(source)
    case = _answerable_case(book, source)
    truth = work_out(case, book)
    k = source.choice((0, 1, 2, 3, MAX_ROUTES, MAX_ROUTES, MAX_ROUTES))
    guided = source.uniform(0.2, 1.0)
    routes = []
    for number in range(k):
        shown = truth.rules if source.random() < guided else ()
        cot = write_cot(case, book=book, habit=habit, shown=shown, source=source)
        routes.append(Route(str(number), cot.text, cot.answer, int(cot.answer == truth.answer)))
    tags = Tags()
    scores = [float(route.label) for route in routes] if routes else None
    return Example(
        messages(tell(case), routes, WORDING, tags), target(phrase(truth, cited=True), truth.answer, scores, tags)
    )


def build_tokenizer(seed: int, examples: int = 4000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer over the desk's language: every word one token, any other text still readable."""

    def texts() -> Iterator[str]:
        for index in range(examples):
            sample = example(derive(seed, "tokenizer"), index)
            yield from (message["content"] for message in sample.prompt)
            yield sample.completion

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", *ROLES]
    # Parts of the visible surface are single tokens, but not special ones: decoding must keep them. White space to
    # their left is theirs, which saves a token each time.
    surface = [*SURFACE, *(f"<route {number}>" for number in range(1, 9))]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False, lstrip=True) for token in surface])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(special) - len(surface),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def packaged_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the packaged base."""
    return PreTrainedTokenizerFast.from_pretrained(PACKAGED)


def same_tokenizer(folder: Path) -> None:
    """Refuse a model whose tokenizer is not the packaged base's, byte for byte: the two could not read each other.

    Raises:
        ResourceError: it is not.
    """
    if (folder / "tokenizer.json").read_bytes() != (PACKAGED / "tokenizer.json").read_bytes():
        raise ResourceError(
            f"{folder / 'tokenizer.json'}: expected the tokenizer of {PACKAGED}, byte for byte, found another one; "
            f"write it with the versions that the packaged one was written with ({PACKAGED / 'README.md'})."
        )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int, width: int = WIDTH) -> PreTrainedModel:
    """The untrained student: Qwen3 classes, 4 layers, at width 128 under 1 M parameters."""
    torch.manual_seed(derive(seed, "desk", "weights") % 2**31)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 5 // 2,
        num_hidden_layers=4,
        num_attention_heads=width // HEAD,
        num_key_value_heads=width // HEAD,
        head_dim=HEAD,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def _encode(tokenizer: PreTrainedTokenizerFast, sample: Example) -> tuple[list[int], int]:
    """Token ids of prompt and completion, and how many of them are the prompt's."""
    text = tokenizer.apply_chat_template(sample.prompt, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = tokenizer(sample.completion, add_special_tokens=False)["input_ids"]
    return [*prompt, *answer, tokenizer.eos_token_id], len(prompt)


def _batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, steps: int, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """`steps` batches of token ids, attention mask and loss weights, each (batch, longest), right-padded.

    Examples of like length share a batch (sorted within a few batches), which saves a third of the work.
    """
    for start in range(0, steps, BUCKET):
        count = min(BUCKET, steps - start)
        encoded = [_encode(tokenizer, example(seed, index)) for index in range(start * batch, (start + count) * batch)]
        encoded.sort(key=lambda row: len(row[0]))
        order = list(range(count))
        rng(seed, "desk", "order", start).shuffle(order)
        for number in order:
            rows = encoded[number * batch : (number + 1) * batch]
            longest = max(len(ids) for ids, _ in rows)
            ids = torch.full((batch, longest), tokenizer.pad_token_id)
            mask = torch.zeros((batch, longest), dtype=torch.long)
            weight = torch.zeros((batch, longest))
            for position, (row, prompt) in enumerate(rows):
                ids[position, : len(row)] = torch.tensor(row)
                mask[position, : len(row)] = 1
                weight[position, :prompt] = PROMPT_WEIGHT
                weight[position, prompt : len(row)] = 1.0
            yield ids, mask, weight


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    steps: int = STEPS,
    batch: int = BATCH,
    progress: Callable[[int, int, float], None] | None = None,
) -> None:
    """Train on `steps` batches of fresh random books; AdamW, warm-up and cosine decay, weighted cross-entropy.

    The learning rate falls with the width, as the size of the best update does.
    """
    rate = LEARNING_RATE * WIDTH / model.config.hidden_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(100, steps // 10 + 1), steps)
    model.train()
    for step, (ids, mask, weight) in enumerate(_batches(tokenizer, seed, steps, batch)):
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weights = weight[:, 1:].flatten()
        loss = (losses * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps, loss.item())
    model.eval()


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


def build_base(
    out: Path, *, seed: int = 0, steps: int | None = None, width: int = WIDTH, progress: Progress | None = None
) -> Path:
    """Pre-train the base model and write it to `out`, an ordinary Hugging Face model directory with its card.

    Args:
        out: a new or empty folder.
        seed: of the tokenizer's corpus, the weights and the pre-training cases; the packaged model is seed 0.
        steps: optimizer steps; default: those of the packaged model.
        width: of the hidden states; another one than the packaged model's has its tokenizer.
        progress: called with (steps done, steps in all).

    Raises:
        ResourceError: `out` is not empty, or cannot be written; a width that is no whole number of heads; a tokenizer
            that is not written as the packaged one was.
    """
    if width < HEAD or width % HEAD:
        raise ResourceError(f"--width {width}: expected a multiple of {HEAD}, the width of a head of attention.")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ResourceError(f"{out}: expected a new or empty folder for the model; choose another --out.")
    steps = steps or STEPS
    started = time.monotonic()
    tokenizer = build_tokenizer(seed) if width == WIDTH else packaged_tokenizer()
    model = new_model(tokenizer, seed, width)

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
        if width != WIDTH:
            same_tokenizer(folder)
        rows = measure(folder, Path(name) / "measured")
        card = _card(rows, seed=seed, steps=steps, model=model, seconds=seconds)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if out.exists():
            out.rmdir()
        shutil.move(folder, out)
    return out


def _parent(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


_WHAT = (
    "The untaught student of `realm`'s returns desk",
    "A mentor or an expert for `realm`'s returns desk, with the tokenizer of its packaged student",
)


def _card(
    measured: Sequence[tuple[Evaluation, float]], *, seed: int, steps: int, model: PreTrainedModel, seconds: float
) -> str:
    width = model.config.hidden_size
    wide = "" if width == WIDTH else f" --width {width}"
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
            "# desk-mentor" if wide else "# desk-base",
            "",
            f"{_WHAT[bool(wide)]}: a Qwen3 causal language model of {model.num_parameters():,}",
            f"parameters (4 layers, width {width}) with a byte-level BPE tokenizer and a chat template.",
            "",
            f"It was pre-trained from scratch on {steps * BATCH:,} cases, each with a rule book of its own drawn at",
            "random, visible only through right and wrong CoTs in the prompt. It can read cases, calculate and weigh",
            f"routes; it has never seen the book of the shop ({len(shop_book(0))} rules) that it is to learn.",
            "",
            "Made by",
            "",
            "```",
            f"python benchmarks/desk_base.py --out DIR --seed {seed} --steps {steps}{wide}",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the model directory")
    parser.add_argument("--seed", type=int, default=0, help="fixes cases, books and weights")
    parser.add_argument("--steps", type=int, default=STEPS, help="of pre-training")
    parser.add_argument("--width", type=int, default=WIDTH, help="of the hidden states, a multiple of 32")
    chosen = parser.parse_args()
    with progress_bar("pre-training") as progress:
        build_base(chosen.out, seed=chosen.seed, steps=chosen.steps, width=chosen.width, progress=progress)
    print(f"wrote {chosen.out}")


if __name__ == "__main__":
    main()
