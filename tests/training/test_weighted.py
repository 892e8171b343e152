"""The loss of weighted tokens and of soft targets, against its definition, however a batch is split."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from trl import SFTTrainer

from benchmarks import tiny_families
from realm.errors import ConfigError
from realm.student.load import load, load_tokenizer
from realm.student.log_probs import log_probs
from realm.student.renderer import Renderer
from realm.traces.base import Given, Soft, Target, Tokenized, Trace, Voice
from realm.traces.weighs.mentor import mentor
from realm.traces.weighs.to_base import to_base
from realm.training.sft import ColdStartTrainer, make_sft_trainer
from realm.training.weighted import training_rows
from tests.tiny import (
    CONTEXT,
    WORDS,
    Killed,
    TinyTask,
    assert_same,
    figures,
    go,
    killed_at,
    tiny_bank,
    tiny_config,
    tiny_model,
    weights,
)

LENGTHS = (5, 9, 7, 3, 8, 6, 4, 9)


def taught(vocabulary: int = len(WORDS), seed: int = 0) -> list[Tokenized]:
    """Eight rows of random tokens, of different lengths."""
    torch.manual_seed(seed)
    question = TinyTask().rows("train")[0]
    trace = Trace(question, tiny_bank(TinyTask()).cots(question.id)[0])
    tokens = [
        torch.randint(4, vocabulary, (6 + number % 3 + length,)).tolist() for number, length in enumerate(LENGTHS)
    ]
    return [Tokenized(trace, row[:-length], row[-length:]) for row, length in zip(tokens, LENGTHS, strict=True)]


def random_weights(seed: int = 0) -> list[list[float]]:
    torch.manual_seed(seed)
    return [[*torch.rand(length - 1).tolist(), 0.0] for length in LENGTHS]


def soft(model: Any, rows: Sequence[Tokenized], most: int) -> list[Soft]:
    """What the model itself expects at each place, its most likely tokens, by turns fewer and fewer."""
    found = []
    for scores in log_probs(model, [(row.prompt, row.completion) for row in rows], 0):
        top = scores.exp().topk(most)
        ids, probabilities = ([row[: most - i % most] for i, row in enumerate(part.tolist())] for part in reversed(top))
        found.append(Soft(ids, probabilities, [1.0] * len(scores)))
    return found


def trainer_of(
    student: Path, folder: Path, targets: Sequence[Target], *, rows: Sequence[Tokenized] = (), **sft: Any
) -> ColdStartTrainer:
    lora, rl = sft.pop("lora", {}), {"bf16": sft.pop("bf16", False)}
    sft = {"steps": 1, "batch_size": 8, "micro_batch_size": 8, "learning_rate": 1e-3, "padding": "batch", **sft}
    config = tiny_config(folder, student, recipe="sft", sft=sft, lora=lora, rl=rl)
    model, tokenizer = load(student)
    made, kept = training_rows(list(rows) or taught(), targets)
    return make_sft_trainer(
        config, model=model, tokenizer=tokenizer, rows=made, targets=kept, output=str(folder), seed=3, callbacks=[]
    )


def logged(*arguments: Any, **more: Any) -> list[float]:
    """Loss and norm of the gradient of one optimizer step, and the entropy and accuracy of its tokens."""
    trainer = trainer_of(*arguments, **more)
    trainer.train()
    return [trainer.state.log_history[0][name] for name in ("loss", "grad_norm", "entropy", "mean_token_accuracy")]


def one_step(*arguments: Any, **more: Any) -> tuple[float, float]:
    loss, norm, *_ = logged(*arguments, **more)
    return loss, norm


def expected(model: Any, rows: Sequence[Tokenized], targets: Sequence[Sequence[float]]) -> float:
    """The sum of the weighted losses over the sum of the weights."""
    scores = log_probs(model, [(row.prompt, row.completion) for row in rows], 0)
    losses = sum(
        -weight * float(place[token])
        for row, places, found in zip(rows, scores, targets, strict=True)
        for token, place, weight in zip(row.completion, places, found, strict=True)
    )
    return losses / sum(map(sum, targets))


def test_weights_of_ones_are_sft(student: Path, tmp_path: Path) -> None:
    """Nothing but ids and labels is passed then; and beside other weights, ones are SFT's loss bit for bit."""
    ones = [[1.0] * length for length in LENGTHS]
    rows, targets = training_rows(taught(), ones)
    assert not targets and all(set(row) == {"input_ids", "labels"} for row in rows)
    plain = trainer_of(student, tmp_path / "plain", ones, steps=2, batch_size=4, micro_batch_size=2)
    named = [{**row, "target": number} for number, row in enumerate(rows)]
    sft = {"steps": 2, "batch_size": 4, "micro_batch_size": 2, "padding": "batch"}
    config = tiny_config(tmp_path, student, recipe="sft", sft=sft)
    model, tokenizer = load(student)
    more: Any = {"rows": named, "targets": ones, "output": str(tmp_path / "ones"), "seed": 3, "callbacks": []}
    weighted = make_sft_trainer(config, model=model, tokenizer=tokenizer, **more)
    losses = []
    for trainer in (plain, weighted):
        trainer.train()
        losses.append([entry.get("loss") for entry in trainer.state.log_history])
        trainer.save_model()
    assert losses[0] == losses[1]
    first, second = weights(tmp_path / "plain"), weights(tmp_path / "ones")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_weights_of_zero_are_labels() -> None:
    rows, targets = training_rows(taught()[:1], [[0.0, 1.0, 0.0, 1, 0]])
    assert not targets and [label == -100 for label in rows[0]["labels"][-5:]] == [True, False, True, False, True]
    assert rows[0]["input_ids"][-5:] == taught()[0].completion


@pytest.mark.parametrize("scale", [1.0, 1e-3], ids=["", "weights that sum to less than one"])
def test_loss_is_weighted_however_the_batch_is_split(student: Path, tmp_path: Path, scale: float) -> None:
    rows, found = taught(), [[weight * scale for weight in row] for row in random_weights()]
    wanted = expected(load(student)[0], rows, found)
    whole = one_step(student, tmp_path, found)
    assert whole[0] == pytest.approx(wanted, rel=1e-5)
    assert one_step(student, tmp_path, found, micro_batch_size=2) == pytest.approx(whole, rel=1e-5)
    assert one_step(student, tmp_path, [[weight * 7 for weight in row] for row in found]) == pytest.approx(
        whole, rel=1e-5
    )


@pytest.mark.parametrize("most", [1, 3, len(WORDS)])
def test_soft_targets_are_distributions(student: Path, tmp_path: Path, most: int) -> None:
    """One's own distribution moves nothing, whole or cut: what is missing is that of all other tokens."""
    rows, model = taught(), load(student)[0]
    loss, norm = one_step(student, tmp_path, soft(model, rows, most))
    assert loss > 0.01 and norm < 1e-4
    found = soft(model, rows, most)
    alike = [Soft(one.ids, [[1 / most] * len(ids) for ids in one.ids], one.weights) for one in found]
    split = one_step(student, tmp_path, alike, micro_batch_size=2)
    assert split[1] > 0.01
    assert one_step(student, tmp_path, alike) == pytest.approx(split, rel=1e-5)


@pytest.mark.parametrize("family", ["qwen3_moe", "gemma3_text", "mamba", "adapters"])
def test_soft_targets_of_one_token_are_hard_ones(family: str, tmp_path: Path) -> None:
    """Also beside hard ones, in models whose forward differs: experts, scaled or all logits, adapters."""
    student = tiny_families.save("qwen3" if family == "adapters" else family, tmp_path / "student")
    rows, found = taught(60), random_weights()
    targets: list[Target] = list(found)
    for number in (0, 1, 4):
        targets[number] = Soft([[token] for token in rows[number].completion], [[1.0]] * LENGTHS[number], found[number])
    more: Any = {"rows": rows, "micro_batch_size": 4, "lora": {"r": 2} if family == "adapters" else {}}
    hard = logged(student, tmp_path, found, **more)
    assert logged(student, tmp_path, targets, **more) == pytest.approx(hard, rel=1e-4)


def backbone_gradient(trainer: ColdStartTrainer) -> torch.Tensor:
    """(B, L): the largest gradient of the loss with respect to what the head reads at each place."""
    seen: list[torch.Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        output.last_hidden_state.retain_grad()
        seen.append(output.last_hidden_state)

    model: Any = trainer.model
    handle = model.base_model.register_forward_hook(keep)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.compute_loss(
        model, batch, num_items_in_batch=trainer._get_num_items_in_batch([batch], model.device)
    ).backward()
    handle.remove()
    (state,) = seen
    assert state.grad is not None
    return state.grad.abs().amax(-1)


@pytest.mark.parametrize("kind", ["labels", "weights", "soft"])
def test_what_has_no_weight_moves_no_logit(student: Path, tmp_path: Path, kind: str) -> None:
    rows = taught()
    found = [[float(place % 3 != 1) for place in range(length)] for length in LENGTHS]
    targets: list[Target] = list(found)
    if kind == "weights":
        targets = [[weight / 3 for weight in row] for row in found]
    if kind == "soft":
        targets = [Soft([[5, 9]] * len(row), [[0.5, 0.4]] * len(row), row) for row in found]
    gradient = backbone_gradient(trainer_of(student, tmp_path, targets))
    for row, weighed, moved in zip(rows, found, gradient, strict=True):
        start = len(row.prompt) - 1  # a place is predicted at the one before it
        assert [bool(one) for one in moved[start : start + len(weighed)]] == [bool(weight) for weight in weighed]
        assert not moved[:start].any() and not moved[start + len(weighed) :].any()


def test_a_batch_of_which_nothing_is_learned_changes_nothing(student: Path, tmp_path: Path) -> None:
    nothing = [[0.5] * length if number else [0.0] * length for number, length in enumerate(LENGTHS)]
    for targets in (nothing, [Soft([[4]] * len(row), [[1.0]] * len(row), row) for row in nothing]):
        loss, norm = one_step(student, tmp_path, targets, batch_size=1, micro_batch_size=1)
        assert (loss, norm) == (0, 0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What SFTTrainer's own `compute_loss` gives its model, and of what it divides by."""
    seen: list[dict[str, Any]] = []
    original = SFTTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        def watched(**given: Any) -> Any:
            seen.append({"inputs": set(given), "items": float(num_items_in_batch), "outputs": model(**given)})
            return seen[-1]["outputs"]

        return original(self, watched, inputs, return_outputs, num_items_in_batch)

    monkeypatch.setattr(SFTTrainer, "compute_loss", spy)
    yield seen


def test_seams_of_the_trainer(student: Path, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    """SFTTrainer calls the model it is given once, as a function, and its loss is -log_probs over the items."""
    found = random_weights()
    loss, _ = one_step(student, tmp_path, found, micro_batch_size=4)
    assert len(calls) == 2
    total = sum(map(sum, found))
    for call in calls:
        assert call["inputs"] == {"input_ids", "attention_mask", "labels", "use_cache", "fused_lm_head"}
        assert call["items"] == pytest.approx(total, rel=1e-6), "the weights of the whole optimizer batch"
        assert call["outputs"].log_probs.shape == call["outputs"].label_mask.shape
    assert loss == pytest.approx(sum(-call["outputs"].log_probs.sum().item() for call in calls) / total, rel=1e-5)


def test_seam_of_the_loss_in_transformers() -> None:
    from transformers import Trainer

    assert list(inspect.signature(Trainer._get_num_items_in_batch).parameters) == ["self", "batch_samples", "device"]
    assert "loss_is_scaled_for_ga" in inspect.getsource(Trainer.training_step)
    assert list(inspect.signature(SFTTrainer.compute_loss).parameters)[1:] == [
        "model", "inputs", "return_outputs", "num_items_in_batch",
    ]  # fmt: skip


def test_a_mentor_that_is_the_student_moves_nothing(student: Path, tmp_path: Path) -> None:
    """And of which nothing is wanted, it is SFT; what reads other tokens is refused."""
    config = tiny_config(tmp_path, student, recipe="sft")
    task = TinyTask()
    given = Given(config, task, None, Renderer(config, task, None, load_tokenizer(student), CONTEXT, k=0))
    rows = taught()
    loss, norm = one_step(student, tmp_path, list(mentor(rows, given, model=str(student), share=1.0, top=4)))
    assert loss > 0.01 and norm < 1e-4
    hard = one_step(student, tmp_path, [[1.0] * length for length in LENGTHS])
    found = list(mentor(rows, given, model=str(student), share=0.0, top=4))
    assert one_step(student, tmp_path, found) == pytest.approx(hard, rel=1e-4)
    assert all(
        {token} <= set(ids) and 4 <= len(ids) <= 5
        for row, one in zip(rows, found, strict=True)
        for token, ids in zip(row.completion, one.ids, strict=True)
    )
    with pytest.raises(ConfigError, match="reads other tokens than the student"):
        list(mentor(rows, given, model="desk-base"))


@pytest.mark.parametrize(("share", "seed"), [(0.3, 5), (1.0, 6)])
def test_to_base_is_sft_and_the_kl_to_the_untrained_student(
    student: Path, tmp_path: Path, share: float, seed: int
) -> None:
    rows, model, base = taught(seed=seed), load(student)[0], tiny_model(seed)
    tokenizer, task = load_tokenizer(student), TinyTask()
    voices: Any = lambda which, spent: {"base": Voice(base, tokenizer, batch_size=3, spent=spent)}[which]  # noqa: E731
    config = tiny_config(tmp_path, student, recipe="sft")
    given = Given(config, task, None, Renderer(config, task, None, tokenizer, CONTEXT, k=0), students=voices)
    found = one_step(student, tmp_path, list(to_base(rows, given, share=share, top=len(WORDS))), rows=rows)[0]
    texts = [(row.prompt, row.completion) for row in rows]
    sft, kl, entropy = [], [], []
    for row, now, before in zip(rows, log_probs(model, texts, 0), log_probs(base, texts, 0), strict=True):
        sft += [-float(place[token]) for place, token in zip(now, row.completion, strict=True)]
        kl += (before.exp() * (before - now)).sum(-1).tolist()
        entropy += (-before.exp() * before).sum(-1).tolist()
    wanted = (1 - share) * fmean(sft) + share * (fmean(kl) + fmean(entropy))
    assert found == pytest.approx(wanted, rel=1e-4) and min(kl) > 0.01
    part = list(to_base(rows, given, share=share, top=4))  # of what is kept it holds less, and of nothing more
    assert one_step(student, tmp_path, part, rows=rows)[0] < found


@pytest.mark.parametrize("weigh", ["light_reasoner", "critical"])
def test_a_resumed_run_learns_the_same_weights(weigh: str, student: Path, tmp_path: Path) -> None:
    """The student is asked once: a resumed one would answer otherwise."""
    options = {"light_reasoner": {"divergence": 0.01}, "critical": {"elsewhere": 0.1}}[weigh]
    config = tiny_config(tmp_path, student, recipe="distill", sft={"weigh": {weigh: options}}, eval_questions=0)
    straight = go(config)
    again = config.changed({"run.name": "again"})
    with pytest.raises(Killed):
        go(again, progress=killed_at("sft", 0, 3))
    kept = tmp_path / "again" / "traces" / "sft-0-weights.json"
    before = kept.stat().st_mtime_ns
    resumed = go(again, resume=True)
    assert_same(resumed.path, straight.path)
    assert kept.stat().st_mtime_ns == before
    plain = go(config.changed({"run.name": "plain", "training.sft.weigh": None}))
    assert figures(plain.path, "metrics.jsonl") != figures(straight.path, "metrics.jsonl")
    assert straight.meta.cost and plain.meta.cost
    assert straight.meta.cost.tokens - plain.meta.cost.tokens == json.loads(kept.read_text())["spent"]["tokens"] > 0


def test_a_weigh_that_is_none_stops_a_run_before_it_starts(student: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, student, recipe="distill", sft={"weigh": {"critical": {"elsewere": 0.1}}})
    with pytest.raises(ConfigError, match=r"training\.sft\.weigh: critical: has no option elsewere; it has elsewhere"):
        go(config)
    assert not (tmp_path / "run").exists()
