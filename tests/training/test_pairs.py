"""The trainers of pairs: their seams in TRL 1.16, and the values that the losses are known to have."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer

from realm.bank.store import Bank
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.student.load import load
from realm.student.log_probs import log_probs
from realm.student.renderer import Renderer
from realm.traces.base import Given, Pair
from realm.traces.pairs import Rows, make_rows
from realm.training.pairs import PairsTrainer, make_pairs_trainer
from realm.training.settings import hushed
from tests.tiny import CONTEXT, TinyTask, tiny_bank, tiny_config, tiny_tokenizer

LOSSES = ("dpo", "kto", "orpo")
Make = Callable[..., PairsTrainer]


def all_pairs(task: TinyTask, bank: Bank) -> list[Pair]:
    """Every right CoT above every wrong one of its question."""
    return [
        Pair(question, right, wrong)
        for question in task.rows("train")
        for right in bank.cots(question.id)
        for wrong in bank.cots(question.id)
        if right.label and not wrong.label
    ]


def configure(folder: Path, student: Path, **pairs: Any) -> Config:
    settings = {"steps": 6, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 2e-3}
    return tiny_config(folder, student, pairs={**settings, **pairs}, save_every=2 if pairs.get("steps") == 2 else 100)


def given_of(config: Config, task: TinyTask, bank: Bank, tokenizer: Any = None, round_: int = 0) -> Given:
    renderer = Renderer(config, task, bank, tokenizer or tiny_tokenizer(), CONTEXT, k=0)
    return Given(config, task, bank, renderer, round=round_)


@pytest.fixture
def make(tmp_path: Path, student: Path, task: TinyTask, bank: Bank) -> Make:
    """A trainer on every pair of the tiny bank; arguments: settings of `training.pairs`, `lora`, `pairs`."""

    def make(lora: int = 0, pairs: list[Pair] | None = None, **settings: Any) -> PairsTrainer:
        config = configure(tmp_path, student, **settings)
        config.training.lora.r = lora
        model, tokenizer = load(config.model.path)
        torch.manual_seed(0)
        found = all_pairs(task, bank) if pairs is None else pairs
        rows = make_rows(found, given_of(config, task, bank, tokenizer), config.training.pairs.steps)
        output = str(tmp_path / "out")
        return make_pairs_trainer(
            config, model=model, tokenizer=tokenizer, rows=rows, output=output, seed=3, callbacks=[]
        )

    return make


def rows_of(config: Config, task: TinyTask, bank: Bank, pairs: list[Pair] | None = None, round_: int = 0) -> Rows:
    pairs = all_pairs(task, bank) if pairs is None else pairs
    return make_rows(pairs, given_of(config, task, bank, round_=round_), config.training.pairs.steps)


# The seams -----------------------------------------------------------------------------------------------------------


def test_seams_of_the_signatures() -> None:
    for trainer in (DPOTrainer, KTOTrainer):
        found = list(inspect.signature(trainer._prepare_dataset).parameters)
        assert found == ["self", "dataset", "processing_class", "args", "dataset_name"]
        assert list(inspect.signature(trainer._precompute_ref_logps).parameters) == [
            "self",
            "dataset",
            "name",
            "batch_size",
        ]
        assert list(inspect.signature(trainer.compute_ref_log_probs).parameters) == ["self", "model", "inputs"]
    assert list(inspect.signature(ORPOTrainer.tokenize_row).parameters) == ["self", "feature", "model"]


@pytest.mark.parametrize("loss", LOSSES)
def test_seam_rows_reach_the_loss_as_they_are(
    monkeypatch: pytest.MonkeyPatch, make: Make, tmp_path: Path, student: Path, task: TinyTask, bank: Bank, loss: str
) -> None:
    """In our order, with our token ids, and with those tokens counted that the masks have. Pairs come again."""
    few = all_pairs(task, bank)[::4]
    seen: list[tuple[list[int], list[int]]] = []

    def spy(self: PairsTrainer, model: Any, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        parts: list[list[tuple[list[int], list[int]]]] = []
        for side in ("chosen_", "rejected_") if loss == "orpo" else ("",):
            mask = inputs[f"{side}labels"] != -100 if loss == "orpo" else inputs["completion_mask"]
            rows = zip(inputs[f"{side}input_ids"], inputs[f"{side}attention_mask"], mask, strict=True)
            parts.append([(ids[there == 1].tolist(), ids[kept == 1].tolist()) for ids, there, kept in rows])
        flat = [row for part in parts for row in part]
        half = len(flat) // 2
        seen.extend(flat if loss == "kto" else chain.from_iterable(zip(flat[:half], flat[half:], strict=True)))
        return original(self, model, inputs, *args, **kwargs)

    trainer = make(loss=loss, learned="answer", steps=5, pairs=few)
    original = type(trainer).compute_loss
    monkeypatch.setattr(type(trainer), "compute_loss", spy)
    trainer.train()
    found = rows_of(configure(tmp_path, student, loss=loss, learned="answer", steps=5), task, bank, few)
    assert len(found.rows) < len(found.order)
    wanted = []
    for place in found.order:
        row = found.rows[place]
        names = [("completion_ids", "mask")] if loss == "kto" else [
            (f"{side}_ids", f"{side}_mask") for side in ("chosen", "rejected")
        ]  # fmt: skip
        for ids, mask in names:
            kept = [token for token, counts in zip(row[ids], row[mask], strict=True) if counts]
            wanted.append((row["prompt_ids"] + row[ids], kept))
    assert seen == wanted


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_sent_carded_printed_or_loaded_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], make: Make, tmp_path: Path, loss: str
) -> None:
    """The reference too: TRL would load a second model by its name."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("telemetry, or another model")

    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", refuse)
    monkeypatch.setattr("trl.trainer.dpo_trainer.create_model_from_path", refuse)
    monkeypatch.setattr("trl.trainer.kto_trainer.create_model_from_path", refuse)
    monkeypatch.delenv("CI", raising=False)
    with hushed():
        make(loss=loss, steps=2).train()
    said = capfd.readouterr()
    assert said.out == "" and "%" not in said.err, "no bars"
    assert not list(tmp_path.rglob("README.md"))


@pytest.mark.parametrize("lora", [0, 4])
def test_seam_what_orpo_reads_is_what_its_own_forward_reads(make: Make, lora: int) -> None:
    trainer: Any = make(lora, loss="orpo", learned="answer")
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    found = trainer.concatenated_forward(trainer.model, batch)
    wanted = ORPOTrainer.concatenated_forward(trainer, trainer.model, batch)
    for place in (0, 1):  # of chosen and rejected completions
        torch.testing.assert_close(found[place], wanted[place], rtol=1e-4, atol=1e-5)
    assert found[0].shape == found[2].shape[:1] and found[2].shape == wanted[2].shape[:2]


# The losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [0, 4])
@pytest.mark.parametrize(("loss", "first"), [("dpo", math.log(2)), ("kto", 0.5)])
def test_first_loss_and_margin(make: Make, loss: str, first: float, lora: int) -> None:
    """The student is its own reference as the stage begins."""
    trainer = make(lora, loss=loss)
    trainer.train()
    row = trainer.state.log_history[0]
    assert row["loss"] == pytest.approx(first, abs=1e-5)
    assert row["rewards/margins"] == pytest.approx(0.0, abs=1e-5)
    assert trainer.state.log_history[5]["rewards/margins"] > 0.05, "and no longer, once it has learned"


def preference(model: Any, rows: Rows) -> float:
    """By how much likelier the preferred completions are, nats, mean over the pairs."""
    sides = [[(row["prompt_ids"], row[name]) for row in rows.rows] for name in ("chosen_ids", "rejected_ids")]
    sums = []
    for side in sides:
        found = log_probs(model, side, 0)
        sums.append([
            float(one.gather(1, torch.tensor(ids)[:, None]).sum()) for one, (_, ids) in zip(found, side, strict=True)
        ])  # fmt: skip
    return sum(a - b for a, b in zip(*sums, strict=True)) / len(rows.rows)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_that_of_its_paper(make: Make, task: TinyTask, bank: Bank, loss: str) -> None:
    """At a student that has moved away from its reference, with another beta than the libraries' own, of completions
    that are not equally long."""
    beta, pairs = 0.7, all_pairs(task, bank)
    uneven = [pairs[4 * number + number % 2 * 2] for number in range(len(pairs) // 4)]
    trainer = make(loss=loss, beta=beta, micro_batch_size=4, pairs=uneven)
    model: Any = trainer.model
    torch.manual_seed(1)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    batch: Any = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    found = trainer.compute_loss(model, batch).item()
    rows: Any = [trainer.train_dataset[place] for place in range(8 if loss == "kto" else 4)]

    def read(name: str) -> list[torch.Tensor]:
        """Log-probabilities of the tokens of each row's completion."""
        some = [(row["prompt_ids"], row[name]) for row in rows]
        return [
            one.gather(1, torch.tensor(ids)[:, None])[:, 0].detach()
            for one, (_, ids) in zip(log_probs(model, some, 0), some, strict=True)
        ]

    if loss == "kto":
        gains = [sum(one) - row["ref_logps"] for one, row in zip(read("completion_ids"), rows, strict=True)]
        signs = [1 if row["label"] else -1 for row in rows]
        terms = [torch.sigmoid(-sign * beta * gain) for sign, gain in zip(signs, gains, strict=True)]
    else:
        chosen, rejected = read("chosen_ids"), read("rejected_ids")
        if loss == "dpo":
            gains = [
                (sum(one) - row["ref_chosen_logps"]) - (sum(other) - row["ref_rejected_logps"])
                for one, other, row in zip(chosen, rejected, rows, strict=True)
            ]
            terms = [-torch.nn.functional.logsigmoid(beta * gain) for gain in gains]
        else:
            odds = [[one.mean() - (-one.mean().exp()).log1p() for one in side] for side in (chosen, rejected)]
            gains = [one - other for one, other in zip(*odds, strict=True)]
            for row in rows:  # TRL teaches the prompt, too
                row["prompt_ids"], row["whole"] = row["prompt_ids"][:1], row["prompt_ids"][1:] + row["chosen_ids"]
            taught = [-one.mean() for one in read("whole")]
            assert len({len(row["whole"]) for row in rows}) > 1, "a mean over all tokens would be another"
            terms = [one - beta * torch.nn.functional.logsigmoid(gain) for one, gain in zip(taught, gains, strict=True)]
    assert max(abs(float(gain)) for gain in gains) > 0.05
    assert found == pytest.approx(float(sum(terms)) / len(terms), rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_preferred_becomes_likelier(
    make: Make, tmp_path: Path, student: Path, task: TinyTask, bank: Bank, loss: str
) -> None:
    """Against the same pairs turned round, by log-probabilities that no trainer computed: changed sides are seen."""
    pairs = all_pairs(task, bank)
    turned = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]
    rows = rows_of(configure(tmp_path, student), task, bank)
    found = []
    for which in (pairs, turned):
        trainer = make(loss=loss, pairs=which)
        trainer.train()
        found.append(preference(trainer.model, rows))
    assert found[0] > found[1] + 1, "nats a pair"


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_masked_span_has_no_gradient(make: Make, loss: str) -> None:
    """What the student expects at a token of the thinking is not moved: the gradient there is exactly zero."""
    trainer = make(loss=loss, learned="answer")
    trainer.model.train()
    inputs: Any = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    kept: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    trainer.model.model.norm.register_forward_hook(keep)
    trainer.compute_loss(trainer.model, inputs).backward()
    (states,) = kept
    counts = inputs["completion_mask"][:, 1:] == 1  # the state before a token expects it
    gradient = states.grad[:, :-1].abs().sum(-1)
    assert counts.any() and (inputs["attention_mask"][:, 1:].bool() & ~counts).any()
    assert (gradient[~counts] == 0).all()
    assert (gradient[counts] > 0).all()


def test_the_answer_is_what_stands_behind_the_thinking(
    tmp_path: Path, student: Path, task: TinyTask, bank: Bank
) -> None:
    tokenizer = tiny_tokenizer()
    close = tokenizer.convert_tokens_to_ids("</think>")
    for row in rows_of(configure(tmp_path, student, learned="answer"), task, bank).rows:
        for side in ("chosen", "rejected"):
            thinking = row[f"{side}_ids"].index(close) + 1
            assert row[f"{side}_mask"] == [0] * thinking + [1] * (len(row[f"{side}_ids"]) - thinking)


def test_the_difference_is_what_two_completions_do_not_share(
    tmp_path: Path, student: Path, task: TinyTask, bank: Bank
) -> None:
    found = rows_of(configure(tmp_path, student, learned="difference"), task, bank)
    tokenizer = tiny_tokenizer()
    for row in found.rows:
        spans = []
        for side in ("chosen", "rejected"):
            ids, mask = row[f"{side}_ids"], row[f"{side}_mask"]
            assert mask[-1] == 1, "the end counts"
            first, last = mask.index(1), len(mask) - 2
            while last >= 0 and not mask[last]:
                last -= 1
            assert mask[:-1] == [0] * first + [1] * (last + 1 - first) + [0] * (len(mask) - 2 - last)
            spans.append((ids[:first], ids[first : last + 1], ids[last + 1 :]))
        (before, one, behind), (start, other, end) = spans
        assert before == start and behind == end
        assert one[:1] != other[:1] and one[-1:] != other[-1:], tokenizer.decode(one)


# The rows ------------------------------------------------------------------------------------------------------------


def test_rows_are_a_function_of_the_seed_and_the_round(
    tmp_path: Path, student: Path, task: TinyTask, bank: Bank
) -> None:
    config = configure(tmp_path, student)
    first = rows_of(config, task, bank)
    assert first == rows_of(config, task, tiny_bank(task))
    assert first != rows_of(config, task, bank, round_=1)
    config.run.seed = 4
    assert first != rows_of(config, task, bank)


def test_questions_take_turns(tmp_path: Path, student: Path, task: TinyTask, bank: Bank) -> None:
    config = configure(tmp_path, student, steps=6, batch_size=4)  # two laps of the 12 questions
    found = rows_of(config, task, bank)
    prompts = [tuple(found.rows[place]["prompt_ids"]) for place in found.order]
    assert len(set(prompts[:12])) == len(set(prompts[12:])) == 12
    config.training.pairs.loss = "kto"
    found = rows_of(config, task, bank)
    assert [found.rows[place]["label"] for place in found.order] == [True, False] * 24
    right = [tuple(found.rows[place]["prompt_ids"]) for place in found.order[::2]]
    assert len(set(right[:12])) == 12


@pytest.mark.parametrize("loss", LOSSES)
def test_tokens_are_those_that_the_trainer_counts(
    make: Make, tmp_path: Path, student: Path, task: TinyTask, bank: Bank, loss: str
) -> None:
    """Each step's, and before the first one those that the reference reads."""
    found = rows_of(configure(tmp_path, student, loss=loss, steps=3), task, bank)
    assert (found.tokens[0] == 0) == (loss == "orpo")
    if loss != "orpo":  # which does not count
        trainer = make(loss=loss, steps=3)
        trainer.train()
        counted = [row["num_tokens"] for row in trainer.state.log_history[:3]]
        assert [tokens - found.tokens[0] for tokens in found.tokens[1:]] == counted


def test_what_teaches_nothing_is_left_out(tmp_path: Path, student: Path, task: TinyTask, bank: Bank) -> None:
    question = task.rows("train")[0]
    right, wrong, *_ = bank.cots(question.id)
    config = configure(tmp_path, student)
    for pairs in ([], [Pair(question, right, right)], [Pair(question, right, None)]):
        with pytest.raises(DataError, match=r"training\.pairs\.miner: bank found no pair") as error:
            rows_of(config, task, bank, pairs)
        assert "\n" not in str(error.value)
    config.training.rl.max_completion_length = 5
    with pytest.raises(DataError, match="max_completion_length = 5 tokens"):
        rows_of(config, task, bank)
    halves = [Pair(question, right, None), Pair(task.rows("train")[1], None, wrong)]
    kto = configure(tmp_path, student, loss="kto")
    assert {row["label"] for row in rows_of(kto, task, bank, halves).rows} == {True, False}
    with pytest.raises(DataError, match="found no pair"):
        rows_of(kto, task, bank, halves[:1])


def test_sharded_weights_have_no_reference(monkeypatch: pytest.MonkeyPatch, make: Make, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"training\.pairs\.loss: dpo reads its reference"):
        make()
