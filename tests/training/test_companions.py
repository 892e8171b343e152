"""RED and SDFT: their rows, their losses by hand; a resumed run is the straight one with every companion on."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, ClassVar

import pytest
import torch

from realm.config import Config, needs_bank
from realm.errors import ConfigError, DataError, ResourceError
from realm.method.reward import Reward
from realm.recipes import plan
from realm.recipes.stage import Stage
from realm.student.renderer import Renderer
from realm.traces.pipeline import instance
from realm.training.companion import Memory
from realm.training.companions.base import Companion, Row, Seen
from realm.training.companions.red import Red
from realm.training.grpo import RouteTrainer, extras, grpo_settings
from realm.training.prepare import _tell_unread
from realm.training.rewards import Group
from tests.tiny import (
    CONTEXT,
    LENGTH,
    WORDS,
    Killed,
    TinyTask,
    assert_same,
    figures,
    go,
    killed_at,
    tiny_bank,
    tiny_config,
    tiny_tokenizer,
    tiny_trainer,
)
from tests.training.dictated import completions
from tests.training.test_internalize import RIGHT, ROUTES, gradients, predictions, scored

END = WORDS.index("<|end|>")
EVERY = [
    "internalize",
    {"internalize": {"by": "distill"}},
    "red",
    {"sdft": {"k": 2}},
    {"sdft": {"by": "hard", "weight": 0.5}},
]


def garbage(self: Any, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> tuple[list[list[int]], None]:
    """In the place of sampling: nothing that could be right."""
    return [[WORDS.index("is"), END] for _ in prompt_ids], None


def made(folder: Path, student: Path, generate: Any, *companions: Any, k: int = 0) -> tuple[RouteTrainer, Any]:
    """A trainer, and a batch of given completions that it has made its rows for."""
    config = tiny_config(folder, student, rl={"steps": 3, "companions": list(companions), "temperature": 0.7})
    trainer = tiny_trainer(config, folder / "out", k=k)
    trainer.model.train()  # type: ignore[union-attr]
    rows = [row for row in list(trainer.train_dataset)[:4] for _ in range(4)]  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RouteTrainer, "_generate_single_turn", generate)
        return trainer, trainer._generate_and_score_completions(rows)


def beside(trainer: RouteTrainer, batch: Any) -> dict[str, torch.Tensor]:
    """The gradient of the companions alone."""
    both, trainer.companions = gradients(trainer, batch), []
    plain = gradients(trainer, batch)
    trainer.model.zero_grad()  # type: ignore[union-attr]
    return {name: value - plain[name] for name, value in both.items()}


def assert_by_hand(trainer: RouteTrainer, found: dict[str, torch.Tensor], loss: torch.Tensor) -> None:
    loss.backward()
    assert max(value.abs().max() for value in found.values()) > 1e-3
    for name, parameter in trainer.model.named_parameters():  # type: ignore[union-attr]
        torch.testing.assert_close(found[name], parameter.grad, atol=2e-5, rtol=2e-3)


def rows_of(batch: Any, number: int = 0) -> list[tuple[int, list[int], list[int], float]]:
    """(place in the batch, prompt, completion, figure) of each row of a companion."""
    part = {name: batch[f"{number}/{name}"] for name in ("prompt_ids", "prompt_mask", "ids", "mask", "figure")}
    return [
        (
            row,
            part["prompt_ids"][row][part["prompt_mask"][row] == 1].tolist(),
            part["ids"][row][part["mask"][row] == 1].tolist(),
            float(part["figure"][row]),
        )
        for row in part["mask"].any(1).nonzero()[:, 0].tolist()
    ]


# RED


@pytest.mark.parametrize("seed", range(5))
def test_the_policy_shift(seed: int) -> None:
    source = random.Random(seed)
    likely = torch.tensor([[source.uniform(0.01, 1), 0.5]])

    def shift(accuracy: float) -> torch.Tensor:
        found = Red().factor(likely.log(), torch.tensor([[accuracy]]), None)
        assert isinstance(found, torch.Tensor)
        return found

    assert shift(0.5)[0, 1].item() == pytest.approx(2 / 3)
    torch.testing.assert_close(shift(0.0), torch.ones(1, 2))
    torch.testing.assert_close(shift(1.0), likely)
    unlikely = Red().factor(torch.tensor([[-1e4]]), torch.tensor([[0.0]]), None)
    assert torch.as_tensor(unlikely).tolist() == [[1.0]], "a token that underflows is imitated too"


def test_the_weight_follows_the_change_of_entropies_and_stays_within_its_bounds() -> None:
    red = Red(most=5)
    heights = [(2.0, 1.0), (1.0, 0.8), (0.9, 0.6), (0.9, 0.7), (0.8, 0.7)]  # offline, sampled: mean of two parts
    found = []
    for off, on in heights:
        found.append(red._entropy_weight())
        red.watch(off - 0.1, on)
        red.watch(off + 0.1, math.nan)  # nothing was sampled there
    found.append(red._entropy_weight())
    changes = [(1 - b[0] / a[0], 1 - b[1] / a[1]) for a, b in pairwise(heights)]
    wanted = [1.0, 1.0, *(min(max(abs(off) / abs(on), 1.0), 5.0) if on else 5.0 for off, on in changes)]
    assert found == pytest.approx(wanted)
    assert found[2] == pytest.approx(0.5 / 0.2) and found[-1] == 5.0
    assert red.figures() == {"red_weight": 5.0, "red_clipped": 1.0}


def test_a_right_cot_joins_each_group_that_is_not_all_it_could_be(tmp_path: Path, student: Path) -> None:
    trainer, batch = made(tmp_path, student, completions(), {"red": {"weight": 2.0}})
    reward: Any = trainer.reward_funcs[0]
    found, rows = beside(trainer, batch), rows_of(batch)
    assert [row for row, *_ in rows] == [0, 4, 8, 12], "the first place of each group"
    tokenizer, bank, loss = tiny_tokenizer(), tiny_bank(TinyTask()), torch.zeros(())
    for group, (_, prompt, completion, accuracy) in zip(reward.groups, rows, strict=True):
        assert prompt == trainer.renderer.fit(group.question.id).ids
        text = tokenizer.decode(completion[:-1])
        taught = [cot.text for cot in bank.cots(group.question.id) if cot.label == 1]
        wanted = {f"<think> {one} </think> <answer> {group.question.answer} </answer>" for one in taught}
        assert text in wanted and completion[-1] == END and len(completion) <= LENGTH
        assert accuracy == pytest.approx(fmean(item.correct for item in group.scored))
        rewards = [*(item.reward.total for item in group.scored), 1.6]
        advantage = (1.6 - fmean(rewards)) / (stdev(rewards) + 1e-4)
        scores = predictions(trainer.model, prompt, completion, 0.7)  # type: ignore[arg-type]
        chosen = scores.gather(1, torch.tensor(completion)[:, None])[:, 0]
        likely = chosen.detach().exp()
        loss = loss - 2.0 / 16 * advantage * (likely / (likely + (1 - likely) * accuracy) * chosen).mean()
    assert_by_hand(trainer, found, loss)


def test_what_was_never_sampled_is_learned_with_it_alone(tmp_path: Path, student: Path) -> None:
    trainer, batch = made(tmp_path, student, garbage, "red")
    assert not batch["advantages"].any()
    assert not any(value.any() for value in gradients(made(tmp_path, student, garbage)[0], batch).values())
    found = gradients(trainer, batch)
    _, prompt, completion, accuracy = rows_of(batch)[0]
    model: Any = trainer.model

    def likely() -> float:
        with torch.no_grad():
            chosen = predictions(model, prompt, completion, 1.0).gather(1, torch.tensor(completion)[:, None])
        return float(chosen.sum())

    before = likely()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter -= 1e-3 * found[name]
    assert accuracy == 0 and likely() > before


# SDFT


@pytest.mark.parametrize("by", ["soft", "hard"])
def test_the_student_is_graded_by_the_one_that_reads_routes(tmp_path: Path, student: Path, by: str) -> None:
    trainer, batch = made(tmp_path, student, completions(), {"sdft": {"by": by, "k": 2, "most": 1.1}})
    reward: Any = trainer.reward_funcs[0]
    right = [item.correct for group in reward.groups for item in group.scored]
    model: Any = trainer.model
    found, rows, loss = beside(trainer, batch), rows_of(batch), torch.zeros(())
    assert [row for row, *_ in rows] == [row for row in range(16) if by == "soft" or right[row]] and not all(right)
    cut = 0
    for row, prompt, completion, _ in rows:
        length = int(batch["completion_mask"][row].sum())
        assert completion == batch["completion_ids"][row][: length - 1].tolist() and END not in completion
        shown = batch["0/teacher_prompt_ids"][row][batch["0/teacher_prompt_mask"][row] == 1].tolist()
        assert tiny_tokenizer().decode(shown).count("</route>") == 2
        alone, taught = (predictions(model, one, completion, 0.7) for one in (prompt, shown))
        taught = taught.detach()
        if by == "soft":
            loss = loss + (taught.exp() * (taught - alone)).sum(-1).mean() / 16
        else:
            place = torch.tensor(completion)[:, None]
            ratio = (taught - alone.detach()).exp().gather(1, place)
            cut += int((ratio > 1.1).sum())
            loss = loss - (ratio.clamp(max=1.1) * alone.gather(1, place)).mean() / 16
    assert by == "soft" or cut
    assert_by_hand(trainer, found, loss)


def test_what_is_graded_shares_its_prompts(tmp_path: Path, student: Path) -> None:
    """The same gradient, and fewer tokens through the layers, of the teacher's long prompts as of the student's."""
    trainer, batch = made(tmp_path, student, completions(), {"sdft": {"k": 2}})
    model: Any = trainer.model
    seen: list[int] = []
    hook = model.base_model.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0][..., 0].numel()))
    companions, found = trainer.companions, {}
    for share in (True, True, False):  # the first one looks whether both ways agree
        trainer._share, trainer.companions, before = share, companions, len(seen)
        found[share] = beside(trainer, batch), seen[before:]
    hook.remove()
    for name, one in found[True][0].items():
        torch.testing.assert_close(one, found[False][0][name], atol=2e-6, rtol=1e-4)
    assert max(one.abs().max() for one in found[True][0].values()) > 1e-3
    whole = [batch[f"0/{of}prompt_ids"].numel() + batch[f"0/{of}ids"].numel() for of in ("teacher_", "")]
    assert found[False][1][1:3] == whole
    teacher, alone = (sum(found[True][1][at : at + 2]) for at in (2, 4))  # each in two passes, behind GRPO's
    assert teacher < 0.6 * whole[0] and alone < 0.8 * whole[1]


def test_prompts_with_routes_and_questions_without_any_are_left_out(tmp_path: Path) -> None:
    config, task = tiny_config(tmp_path, Path("unused")), TinyTask()
    question = task.rows("train")[0]
    items, ids = (scored(RIGHT), scored(RIGHT)), [([5], [6, END])] * 2

    def rows(companion: Any, routes: Any, bank: Any) -> list[bool]:
        renderer = Renderer(config, task, bank, tiny_tokenizer(), CONTEXT, k=0)
        group = Group(question, "", routes, 1.0, 0, items, (False, False), (2, 2), LENGTH)
        found = instance("companions", companion, Companion).rows(Seen([group], ids, renderer, 0, 1.6))
        return [row is not None for row in found]

    assert rows("sdft", (), tiny_bank(task)) == [True, True]
    assert rows("sdft", ROUTES, tiny_bank(task)) == [False, False]
    assert rows("sdft", (), None) == rows("red", (), None) == [False, False]
    assert rows("red", ROUTES, tiny_bank(task)) == [True, False]


@pytest.mark.parametrize("end", [END, WORDS.index("<|user|>")])
def test_whichever_token_ends_a_completion_is_not_graded(tmp_path: Path, end: int) -> None:
    """With routes the scores follow there; many chat models end a turn by another token than their tokenizer's."""
    config, task = tiny_config(tmp_path, Path("unused")), TinyTask()
    renderer = Renderer(config, task, tiny_bank(task), tiny_tokenizer(), CONTEXT)
    group = Group(task.rows("train")[0], "", (), 1.0, 0, (scored(RIGHT),), (False,), (2,), LENGTH)
    seen = Seen([group], [([5], [6, end])], renderer, 0, 1.6, frozenset({END, WORDS.index("<|user|>")}))
    (row,) = instance("companions", "sdft", Companion).rows(seen)
    assert row is not None and row.teacher is not None
    assert (row.completion, row.teacher[1]) == ([6], [6])


def test_cots_are_drawn_anew_where_they_fit_and_something_is_left_to_learn(tmp_path: Path) -> None:
    task, bank = TinyTask(), tiny_bank(TinyTask())
    renderer = Renderer(tiny_config(tmp_path, Path("unused")), task, bank, tiny_tokenizer(), CONTEXT, k=0)
    question, ids = task.rows("train")[0], [([5], [6, END])] * 3

    def rows(companion: Any, *paid: float | None, room: int = LENGTH, step: int = 0) -> list[Row | None]:
        """Of completions with such rewards, right where that is the highest; None: the verifier failed."""
        items = [
            replace(scored(RIGHT, paid == 1.6), reward=Reward(paid or 0.0, 0, 0, 0, 0), verifier_failed=paid is None)
            for paid in paid
        ]
        group = Group(question, "", (), 1.0, 0, tuple(items), (False,) * 3, (2,) * 3, room)
        made = instance("companions", companion, Companion)
        return made.rows(Seen([group], ids[: len(items)], renderer, step, 1.6))

    assert rows("red", 1.6, 1.6) == rows("red", None, None) == [None, None]
    half, most = rows("red", 0.1, 1.6)[0], rows("red", 0.1, 1.6, None)[0]
    assert half and most and half.figure == most.figure == 0.5 and half.weight == most.weight
    drawn = [rows("red", 0.1, 0.1, step=step)[0] for step in range(8)]
    lengths = {len(row.completion) for row in drawn if row}
    assert len(lengths) == 2, "there are two right ones, of unlike length"
    short = [rows("red", 0.1, 0.1, room=min(lengths), step=step)[0] for step in range(8)]
    assert {row and len(row.completion) for row in short} == {min(lengths)}
    assert rows("red", 0.1, 0.1, room=min(lengths) - 1) == [None, None]
    graded = [rows({"sdft": {"k": 1}}, 0.1, 1.6, step=step) for step in range(8)]
    assert len({tuple(row.teacher[0]) for one in graded for row in one if row and row.teacher}) > 1
    assert [row is not None for row in rows({"sdft": {"by": "hard"}}, 0.1, 1.6)] == [False, True]


# Runs


def test_a_resumed_run_is_the_straight_one_with_every_companion_on(tmp_path: Path, student: Path) -> None:
    rl = {"companions": EVERY, "shapes": ["mgpo", "cosine"], "micro_batch_size": 8}
    configs = {}
    for name in ("straight", "resumed"):
        (tmp_path / name).mkdir()
        configs[name] = tiny_config(tmp_path / name, student, rl=rl, eval_questions=0)
    straight = go(configs["straight"])
    with pytest.raises(Killed):
        go(configs["resumed"], progress=killed_at("rl", 0, 5))
    checkpoint = next((tmp_path / "resumed").rglob("checkpoint-4"))
    assert "off before" in json.loads((checkpoint / Memory.FILE).read_text())[2]
    run = go(configs["resumed"], resume=True)
    assert_same(run.path, straight.path)
    tables = [row["companions"] for row in figures(run.path, "metrics.jsonl")]
    assert all(any(table[name] for table in tables) for name in ("internalize", "red", "sdft"))
    assert tables[0]["red_weight"] == tables[1]["red_weight"] == 1 and tables[0]["red_clipped"] == 0
    kept = [next(one.path.rglob(f"checkpoint-6/{Memory.FILE}")).read_text() for one in (run, straight)]
    assert kept[0] == kept[1], "weights may all lie at a bound"


def test_weight_zero_is_plain_grpo_bit_for_bit(tmp_path: Path, student: Path) -> None:
    off = [{name: {"weight": 0}} for name in ("internalize", "red", "sdft")]
    trainer, batch = made(tmp_path, student, completions(), *off)
    plain, same = made(tmp_path, student, completions())
    assert batch.keys() == same.keys() and not trainer.companions
    found = gradients(trainer, batch)
    assert all(torch.equal(value, found[name]) for name, value in gradients(plain, same).items())


def test_a_checkpoint_without_what_they_remember_is_told(tmp_path: Path) -> None:
    from transformers import TrainerState, TrainingArguments

    args, state = TrainingArguments(str(tmp_path)), TrainerState(global_step=2)
    with pytest.raises(ResourceError, match=r"expected what training\.rl\.companions remember"):
        Memory([Red()]).on_train_begin(args, state, None)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Reads(Companion):
    reads_bank: ClassVar[bool] = True


def test_which_companions_need_a_bank() -> None:
    def needs(*companions: Any) -> bool:
        config = Config().changed({"training.rl.companions": list(companions)})
        return needs_bank(config, Stage("rl", 0, 1, 0))

    assert [needs(one) for one in ("red", {"sdft": {"k": 2}}, "internalize")] == [True, True, False]
    assert needs("internalize", f"{__name__}:Reads") and not needs()
    assert not needs("nowhere:Reads"), "that it is not there is told where it is made"
    assert not needs_bank(
        Config().changed({"training.rl.companions": ["red"]}), Stage("sft", 0, 1, 0, traces=("right",))
    )


def test_plugins_of_stages_that_a_recipe_lacks_are_told(caplog: pytest.LogCaptureFixture) -> None:
    settings = {"training.rl.companions": ["red"], "training.pairs.miner": "rollout", "training.sft.weigh": "critical"}
    told = {}
    for recipe in ("sft", "grpo", "sft+grpo"):
        caplog.clear()
        config = Config().changed({"training.recipe": recipe, **settings})
        _tell_unread(config, list(plan(config)))
        told[recipe] = {record.getMessage().partition(" ")[0] for record in caplog.records}
    assert told == {
        "sft": {"training.rl.companions", "training.pairs.miner"},
        "grpo": {"training.sft.weigh", "training.pairs.miner"},
        "sft+grpo": {"training.pairs.miner"},
    }
    caplog.clear()
    _tell_unread(config, [Stage("mine:stage", 0, 1, 0)])
    _tell_unread(Config(), [Stage("rl", 0, 1, 0)])
    assert not caplog.records, "what another stage reads is not known, and defaults are nobody's wish"


def test_what_cannot_work_is_refused_before_the_start(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path, student, rl={"companions": ["red"]}, recipe="grpo")
    with pytest.raises(DataError, match="the recipe grpo is taught by CoTs, but there is no bank"):
        go(config, bank=None)
    args = grpo_settings(config, output=str(tmp_path), seed=0, context=CONTEXT)
    monkeypatch.setattr(type(args), "world_size", 8)
    with pytest.raises(ConfigError, match=r"training\.rl\.companions: 8 processes with 2 completions each"):
        extras(config, args)
    whole = tiny_config(tmp_path, student, rl={"companions": ["internalize", "sdft"]})
    assert len(extras(whole, args)["companions"]) == 2
    monkeypatch.setattr("realm.training.grpo.sharded", lambda: True)
    with pytest.raises(ConfigError, match=r"training\.rl\.companions: with sharded weights"):
        extras(whole, args)
