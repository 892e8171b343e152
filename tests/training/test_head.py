"""No tensor of all places times the vocabulary, whatever is done with a model; and parts give what the whole does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel
from trl.kernels import chunked_logprob
from trl.trainer import utils as trl_utils

from benchmarks import tiny_families
from realm.bank.store import Bank
from realm.evaluation.evaluate import evaluate_model
from realm.rows.base import Place
from realm.student import head as heads
from realm.student.head import by_parts, states_and_head, vocabulary
from realm.student.load import load
from realm.traces.base import Soft, Spent, Voice
from realm.training import settings
from realm.training.adapters import below_adapters
from realm.training.companion import CompanionTrainer
from realm.training.grpo import RouteTrainer
from realm.training.pairs import make_pairs_trainer
from tests.tiny import TinyTask, pool, tiny_config, tiny_model, tiny_tokenizer, tiny_trainer
from tests.training.dictated import completions
from tests.training.test_internalize import gradients
from tests.training.test_pairs import all_pairs, configure, rows_of
from tests.training.test_weighted import LENGTHS, random_weights, taught, trainer_of

VOCABULARY = 5000
#: Places and tokens whose logits may be there at once, below the completions of every batch here.
PLACES, TOKENS = 128, 1250


class Largest(TorchDispatchMode):
    """Looks at what every operation gives, in forward and backward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: tuple[int, tuple[int, ...], str] = (0, (), "")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for one in outputs if isinstance(outputs, tuple | list) else [outputs]:
            if isinstance(one, torch.Tensor):
                self.found = max(self.found, (one.numel(), tuple(one.shape), str(func)))
        return outputs


@contextmanager
def within_tiles() -> Iterator[None]:
    looked = Largest()
    with looked:
        yield
    assert TOKENS <= looked.found[0] <= 1.5 * PLACES * TOKENS, looked.found


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that are small beside what a tiny model has; TRL's width is put back behind the test."""
    width = TOKENS if torch.accelerator.is_available() else 32768  # which is for `narrow_head` to change
    monkeypatch.setattr(trl_utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", width)
    monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", PLACES)
    monkeypatch.setattr(settings, "TOKEN_CHUNK_SIZE", PLACES)
    for module in (heads, settings):
        monkeypatch.setattr(module, "TILE", PLACES * TOKENS)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    tiny_model(vocab_size=VOCABULARY, initializer_range=0.3).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("k", "rl"),
    [
        (None, {"beta": 0.1, "num_iterations": 2}),
        (None, {"beta": 0.1, "num_iterations": 2, "shared_prefix": "off"}),
        (None, {"companions": ["internalize", {"internalize": {"by": "distill"}}, "red"]}),
        (0, {"companions": [{"sdft": {"k": 2}}, {"sdft": {"by": "hard"}}]}),
    ],
    ids=["shared", "plain", "with routes", "without"],
)
def test_rl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wide: Path, k: int | None, rl: dict[str, Any]) -> None:
    """Policy, old policy and reference, with and without shared prompts; every companion."""
    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", completions())
    learned: set[Any] = set()
    original = CompanionTrainer._beside

    def spy(self: Any, model: Any, companion: Any, part: Any) -> Any:
        learned.add((type(companion), companion.soft))
        return original(self, model, companion, part)

    monkeypatch.setattr(CompanionTrainer, "_beside", spy)
    trainer = tiny_trainer(tiny_config(tmp_path, wide, rl={"steps": 2, **rl}), tmp_path / "out", k=k)
    with within_tiles():
        trainer.train()
    assert len(learned) == len(rl.get("companions", ()))


def soft(tokens: int) -> list[Soft]:
    """Two tokens expected at each place, with a rest for all others."""
    return [Soft([[5, tokens - 1]] * length, [[0.5, 0.4]] * length, [1.0] * length) for length in LENGTHS]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("kind", ["labels", "weights", "soft"])
def test_sft(tmp_path: Path, wide: Path, kind: str) -> None:
    ones = [[1.0] * length for length in LENGTHS]
    targets: Any = {"labels": ones, "weights": random_weights(), "soft": soft(VOCABULARY)}[kind]
    trainer = trainer_of(wide, tmp_path, targets * 2, rows=taught(VOCABULARY) * 2, batch_size=16, micro_batch_size=16)
    with within_tiles():
        trainer.train()


@pytest.mark.usefixtures("narrow")
def test_what_is_expected_of_completions(monkeypatch: pytest.MonkeyPatch, wide: Path) -> None:
    """What `to_base`, a mentor and others ask for; the same as of all at once, be it that a model gives all."""
    model, tokenizer = load(wide)
    rows = [(row.prompt * 6, row.completion) for row in taught(VOCABULARY)]
    voice = Voice(model, tokenizer, batch_size=8, spent=Spent())
    with within_tiles():
        found = list(voice.scores(rows))
    for (prompt, completion), scores in zip(rows, found, strict=True):
        wanted = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(scores, wanted, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr("realm.student.log_probs.known", lambda _: {"use_cache"})
    torch.testing.assert_close(list(voice.scores(rows)), found, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("loss", ["dpo", "kto", "orpo"])
def test_pairs(tmp_path: Path, wide: Path, task: TinyTask, bank: Bank, loss: str) -> None:
    """The reference too, which is read while the trainer is made."""
    config = configure(tmp_path, wide, loss=loss, steps=1, batch_size=8, micro_batch_size=8)
    model, tokenizer = load(wide)
    rows = rows_of(config, task, bank, all_pairs(task, bank))
    more: Any = {"model": model, "tokenizer": tokenizer, "output": str(tmp_path / "out"), "seed": 3, "callbacks": []}
    with within_tiles():
        make_pairs_trainer(config, rows=rows, **more).train()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("samples", [1, 2])
def test_evaluation(tmp_path: Path, wide: Path, task: TinyTask, bank: Bank, samples: int) -> None:
    """With the likelihood of every answer; of a prompt the last place is scored alone."""
    settings = {"batch_size": 4, "samples": samples, "confidence": "likelihood", "max_completion_length": 16}
    config = tiny_config(tmp_path, wide).changed({f"evaluation.{name}": value for name, value in settings.items()})
    model, tokenizer = load(wide)
    more: Any = {"with_routes": True, "split": "test", "seed": 3, "where": Place(stage="rl", step=0)}
    with pool() as judges, within_tiles():
        _, rows = evaluate_model(model, tokenizer, task.rows("test"), bank.routes, task, judges, config, **more)
    assert max(one.tokens for row in rows for one in row.completions) == 16


# Exactness


def differences(model: PreTrainedModel) -> tuple[torch.Tensor, list[torch.Tensor], int]:
    """A loss of logits and its gradients, and how often the head was taken."""
    ids = torch.arange(2, 50).view(2, 24)
    calls = 0
    _, states, head = states_and_head(model, model, torch.arange(3, 20), input_ids=ids, use_cache=False)

    def part(states: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return head(states).float().log_softmax(-1).square().mean(-1)

    loss = by_parts(part, vocabulary(model), states).mean()
    parameters = [one for one in model.parameters() if one.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss, [torch.zeros(()) if one is None else one for one in found], calls


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "cohere", "granite", "gpt2", "opt", "mixtral", "mamba"])
def test_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """Also where scores are scaled or cut, experts stand between, or the backbone cannot be told from the head."""
    model = tiny_families.build(family).eval()
    forward = vars(model.base_model).get("forward")
    loss, gradients, calls = differences(model)
    assert calls == 1
    monkeypatch.setattr(heads, "TILE", 7 * tiny_families.VOCABULARY)
    found, others, calls = differences(model)
    assert calls == 10, "34 places by sevens, forwards and backwards"
    torch.testing.assert_close(found, loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(others, gradients, atol=1e-5, rtol=1e-4)
    assert vars(model.base_model).get("forward") == forward


@pytest.mark.parametrize("lora", [0, 2])
def test_mixed_precision_is_that_of_the_head(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, lora: int
) -> None:
    """It is called outside of what wraps a model for that, around its adapters."""
    monkeypatch.setattr(heads, "TILE", 99)
    trainer = trainer_of(student, tmp_path, soft(30), lora={"r": lora}, bf16=True)
    seen = set()
    head = below_adapters(trainer.model).get_output_embeddings()
    head.register_forward_hook(lambda _, __, scores: seen.add(scores.dtype))
    trainer.train()
    assert seen == {torch.bfloat16}


@pytest.mark.parametrize("lora", [0, 2])
def test_soft_losses_are_the_same_in_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, student: Path, lora: int
) -> None:
    """Those of companions and of SFT, of all weights and of adapters."""
    monkeypatch.setattr(RouteTrainer, "_generate_single_turn", completions())
    rl = {"steps": 1, "companions": [{"internalize": {"by": "distill"}}], "temperature": 0.7}
    found = []
    for tile in (heads.TILE, 99):
        monkeypatch.setattr(heads, "TILE", tile)
        trainer = tiny_trainer(tiny_config(tmp_path, student, rl=rl, lora={"r": lora}), tmp_path / "out")
        trainer.model.train()  # type: ignore[union-attr]
        rows = [row for row in list(trainer.train_dataset)[:4] for _ in range(4)]  # type: ignore[arg-type]
        beside = gradients(trainer, trainer._generate_and_score_completions(rows))
        sft = trainer_of(student, tmp_path, soft(30), lora={"r": lora})
        sft.train()
        entry = sft.state.log_history[0]
        found.append((beside, [entry[name] for name in ("loss", "grad_norm", "entropy", "mean_token_accuracy")]))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-5, rtol=1e-4)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-4)
