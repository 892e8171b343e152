"""A student of a few thousand parameters, a task it can half solve, and CoTs for it; all made here, no network."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config
from realm.files import read_jsonl
from realm.method.prompt import Tags, Wording, messages, target
from realm.method.routes import Route
from realm.run import RunFolder
from realm.tasks.base import Comment, Question
from realm.tasks.verify import verifier
from realm.tasks.workers import VerifierPool

if TYPE_CHECKING:
    from realm.student.renderer import Renderer
    from realm.tasks.base import Task
    from realm.traces.examples import Example
    from realm.training.grpo import RouteTrainer

CONTEXT = 128
LENGTH = 24
TAGS = Tags()
WORDING = Wording(
    system="",
    question="{question} {routes} {instruction}",
    route="<route {number}> {route} </route>",
    with_routes="judge",
    without_routes="answer",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WORDS = (
    ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    + [f"<{slash}{tag}>" for tag in ("think", "answer", "scores") for slash in ("", "/")]
    + ["<route", "1>", "2>", "3>", "4>", "</route>", "judge", "answer", "plus", "is", "odd", "even", "0,", "1,"]
    + [str(digit) for digit in range(8)]
)


class TinyTask:
    """Is `a plus b` odd or even? The answer is 0 or 1, so that guessing is right now and then."""

    name = "tiny"
    wording = WORDING
    labels: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()

    def __init__(self, train: int = 12) -> None:
        self.verifier = verifier("exact")
        pairs = [(a, b) for a in range(8) for b in range(8)]
        random.Random(0).shuffle(pairs)
        rows = [Question(f"q{a}{b}", f"{a} plus {b}", str((a + b) % 2), kind="sum") for a, b in pairs]
        self._rows = {"train": rows[:train], "validation": rows[-8:], "test": rows[-16:-8]}

    def splits(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def rows(self, split: str) -> list[Question]:
        return self._rows[split]


def thinking(question: Question, answer: str) -> str:
    return f"{question.question} is {'odd' if answer == '1' else 'even'}"


def tiny_bank(task: TinyTask, n: int = 4) -> Bank:
    """n CoTs a question; the even ones are right, the first of them guided."""
    bank = Bank()
    for split in task.splits():
        for question in task.rows(split):
            for sample in range(n):
                wrong = sample % 2
                answer = str(int(question.answer) ^ wrong)
                text = " ".join([thinking(question, answer)] + ["is"] * sample)
                bank.append([CoT(question.id, text, answer, 1 - wrong, "tiny", guided=sample == 0, sample=sample)])
    return bank


def word_tokenizer(words: list[str], special: int) -> PreTrainedTokenizerFast:
    """One token a word; the first `special` words are special tokens, <|pad|> and <|end|> among them."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<|pad|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words[:special]])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", padding_side="left"
    )


def tiny_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    fast = word_tokenizer(WORDS, special=4)
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_model(seed: int = 0, **settings: Any) -> Qwen3ForCausalLM:
    """Random weights; `settings` of the configuration may be others."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    return Qwen3ForCausalLM(Qwen3Config(**{**sizes, **settings}))


def _teach(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int = 150) -> None:
    """Teach the surface with random answers: completions are read, and right about every second time."""
    source = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        rows = []
        for _ in range(16):
            question = Question("", f"{source.randrange(8)} plus {source.randrange(8)}", "")
            routes = [Route(str(i), thinking(question, "1"), "1", 1) for i in range(source.choice((0, 0, 2, 4)))]
            answer = source.choice("01")
            scores = [float(source.randrange(2)) for _ in routes]
            prompt = messages(question.question, routes, WORDING, TAGS)
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            rows.append(f"{text} {target(thinking(question, answer), answer, scores, TAGS)} <|end|>")
        batch = tokenizer(rows, padding=True, return_tensors="pt", add_special_tokens=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@functools.cache
def _taught() -> Qwen3ForCausalLM:
    model = tiny_model()
    _teach(model, tiny_tokenizer())
    return model


def save_student(folder: Path, chat: bool = True) -> Path:
    """A model directory of the taught student."""
    _taught().save_pretrained(folder)
    tiny_tokenizer(chat).save_pretrained(folder)
    return folder


def tiny_config(folder: Path, student: Path, **training: object) -> Config:
    """A run of 6 RL steps of 4 groups of 4; `training` overrides parts of the section."""
    rl = {
        "steps": 6,
        "num_generations": 4,
        "batch_size": 16,
        "micro_batch_size": 16,
        "learning_rate": 2e-3,
        "max_completion_length": LENGTH,
        **training.pop("rl", {}),  # type: ignore[dict-item]
    }
    sft = {"steps": 4, "batch_size": 8, "micro_batch_size": 8, "learning_rate": 1e-3, **training.pop("sft", {})}  # type: ignore[dict-item]
    return Config.model_validate(
        {
            "run": {"name": "run", "dir": str(folder), "seed": 3},
            "model": {"path": str(student)},
            "routes": {"k": 4},
            "training": {
                "recipe": "realm-zero",
                "rl": rl,
                "sft": sft,
                "eval_every": 3,
                "eval_questions": 4,
                "save_every": 2,
                "sample_every": 2,
                **training,
            },
            "evaluation": {"bootstrap": 100, "batch_size": 8},
        }
    )


def new_run(config: Config, **options: bool) -> RunFolder:
    return RunFolder.create(config, **options)


def pool() -> VerifierPool:
    return VerifierPool("exact")


def go(
    config: Config,
    task: TinyTask | None = None,
    *,
    judge: VerifierPool | None = None,
    resume: bool = False,
    **more: Any,
) -> RunFolder:
    """Train a run of the tiny task, or go on with it; `more`: `bank`, where it is another or none, and `progress`."""
    from realm.training.prepare import prepare
    from realm.training.recipes import train

    task = task or TinyTask()
    prepared = prepare(config, task, more.pop("bank", tiny_bank(task)))
    run = new_run(config, resume=resume)
    train(prepared, run=run, pool=judge or pool(), resume=resume, **more)
    return run


def sft_examples(config: Config, renderer: Renderer, task: Task, bank: Bank, round_: int = 0) -> list[Example]:
    """What SFT teaches of a bank, in the order of training."""
    from realm.traces.base import Given
    from realm.traces.examples import examples
    from realm.traces.pipeline import run_steps

    given = Given(config, task, bank, renderer, round=round_)
    sft = config.training.sft
    return examples(run_steps(sft.traces, given), given, sft.steps * sft.batch_size)


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_at(stage: str, round_: int, step: int) -> Any:
    """A `progress` that ends a run behind this step."""

    def progress(event: Any) -> None:
        if (event.stage, event.round, event.step) == (stage, round_, step):
            raise Killed

    return progress


def tiny_trainer(config: Config, output: Path, *, k: int | None = None, **more: Any) -> RouteTrainer:
    """A trainer of the RL that a configuration names; `more`: `bank`, where it is another or none, and `callbacks`."""
    from realm.student.load import load
    from realm.student.renderer import Renderer
    from realm.training.grpo import make_grpo_trainer
    from realm.training.rewards import RouteReward

    model, tokenizer = load(config.model.path)
    torch.manual_seed(0)  # fresh adapters are drawn
    task = TinyTask()
    renderer = Renderer(config, task, more.pop("bank", tiny_bank(task)), tokenizer, CONTEXT, k=k)
    return make_grpo_trainer(
        config,
        model=model,
        tokenizer=tokenizer,
        renderer=renderer,
        reward=RouteReward(config, renderer.questions, pool()),
        output=str(output),
        seed=3,
        callbacks=more.pop("callbacks", []),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a model directory."""
    from safetensors.torch import load_file

    return {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}


def figures(run: Path, file: str) -> list[dict[str, Any]]:
    """The rows of a run's file without what a clock adds; none where there is no file."""
    found = read_jsonl(run / file) if (run / file).exists() else []
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


def assert_same(run: Path, straight: Path) -> None:
    """One run is the other: every row of it, and the weights bit for bit."""
    for file in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl", "predictions.jsonl"):
        assert figures(run, file) == figures(straight, file), file
    assert (run / "model/model.safetensors").read_bytes() == (straight / "model/model.safetensors").read_bytes()
