"""What a newcomer's plug-ins give back, and how they are written, is told in one line at every door."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from realm.config import Config, load_config
from realm.errors import ConfigError, DataError
from realm.plugins import _NAMED, trust
from realm.student.renderer import Renderer
from realm.traces.base import Given, Pair, Soft, Tokenized, Trace
from realm.traces.pairs import make_rows
from realm.traces.pipeline import bound, instance, mine, run_steps
from realm.traces.weights import find_weigh, weigh
from realm.training.companion import CompanionTrainer, _factor
from realm.training.companions.base import Companion, Row, Seen
from realm.training.shapes.base import Shape, added, shaped
from tests.tiny import CONTEXT, TinyTask, tiny_bank, tiny_tokenizer

TASK = TinyTask(4)
BANK = tiny_bank(TASK)
QUESTION = TASK.rows("train")[0]
RIGHT, WRONG, *_ = BANK.cots(QUESTION.id)
PLUGINS = """
from __future__ import annotations

from dataclasses import dataclass

from realm.training.companions.base import Companion
from realm.training.shapes.base import Shape

GIVES = []

def give(traces, given):
    return GIVES[0](traces) if callable(GIVES[0]) else GIVES[0]

def give_rows(rows, given):
    return GIVES[0](rows) if callable(GIVES[0]) else GIVES[0]

def give_pairs(given):
    return GIVES[0]

def two(traces): ...
def positional(traces, given, most: int = 80): ...
def untyped(traces, given, *, most=80): ...
def unchecked(traces, given, *, most: Nowhere = 80): ...
def strange(traces, given, *, most: Strange = 80): ...
def step(traces, given): ...
def weight(rows, given): ...
def miner(given): ...
def dies(traces, given):
    yield from traces
    raise KeyError("mine")

class Strange: ...

class Bare(Shape):
    share: float = 0.1

class Own(Shape):
    def __init__(self, share: float = 0.1) -> None:
        self.share = share

class Alone(Companion):
    def __init__(self) -> None:
        self.seen = 0

@dataclass(frozen=True)
class Placed(Shape):
    share: float = 0.1

@dataclass(frozen=True, kw_only=True)
class Dies(Shape):
    def reward(self, group):
        raise KeyError("mine")
"""


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "bad_parts.py").write_text(PLUGINS)
    named = set(_NAMED)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        module = importlib.import_module("bad_parts")
        trust([f"bad_parts:{name}" for name in vars(module)])
        yield module
    _NAMED.intersection_update(named)


def given(**training: Any) -> Given:
    config = Config.model_validate({"training": {"recipe": "distill", **training}})
    return Given(config, TASK, BANK, Renderer(config, TASK, BANK, tiny_tokenizer(), CONTEXT, k=0))


def refused(call: Callable[[], Any], *parts: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        call()
    said = str(caught.value)
    assert all(part in said for part in parts) and "\n" not in said, said


TRACE = Trace(QUESTION, RIGHT)
NAN = math.nan


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        (None, "found None; does it return something?"),
        ("text", "found the text 'text'"),
        ({}, "found dict"),
        (TRACE, "found Trace"),
        ([TRACE, RIGHT], "found CoT at index 1"),
        ([None], "found None at index 0"),
        ([Trace(QUESTION, "thinking")], "found a Trace whose cot is the text 'thinking'"),  # type: ignore[arg-type]
        ([replace(TRACE, weight=-1.0)], "found a Trace with the weight -1.0"),
    ],
)
def test_steps(plugins: Any, gives: Any, found: str) -> None:
    plugins.GIVES[:] = [gives]
    at = "training.sft.traces: bad_parts:give: expected traces"
    refused(lambda: run_steps(["bank", "bad_parts:give"], given()), at, found)


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        (None, "found None; does it return something?"),
        ([(RIGHT, WRONG)], "found tuple at index 0"),
        ([Pair(QUESTION, "right", "wrong")], "a Pair with the text 'right' for a CoT at index 0"),  # type: ignore[arg-type]
        ([Pair("q", RIGHT, WRONG)], "a Pair with the text 'q' for a question"),  # type: ignore[arg-type]
    ],
)
def test_miners(plugins: Any, gives: Any, found: str) -> None:
    plugins.GIVES[:] = [gives]
    refused(
        lambda: mine("bad_parts:give_pairs", given()), "training.pairs.miner: bad_parts:give_pairs: expected", found
    )


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        ([], "bad_parts:give_pairs found no pair at all for 4 questions"),
        ([Pair(QUESTION, RIGHT, RIGHT)] * 3, "in all 3 the preferred and the rejected CoT are the same"),
    ],
)
def test_pairs_of_which_nothing_is_learned(plugins: Any, gives: Any, found: str) -> None:
    here = given(pairs={"miner": "bad_parts:give_pairs"})
    refused(lambda: make_rows(iter(gives), here, 1), "training.pairs.miner: bad_parts:give_pairs", found)


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        (None, "found None; does it return something?"),
        (lambda rows: [[1.0] * 5 for _ in rows][1:], "found 0 for 1"),
        (lambda rows: [1.0 for _ in rows], "found 1.0 for the row of question 'q'"),
        (lambda rows: ["weights"], "found the text 'weights' for the row of question 'q'"),
        (lambda rows: [[1.0] * 4], "found 4 for 5 tokens for the row of question 'q'"),
        (lambda rows: [[1.0] * 4 + [-1.0]], "found -1.0 for the row of question 'q'"),
        (lambda rows: [[1.0] * 4 + [NAN]], "found nan for the row of question 'q'"),
        (lambda rows: [[None] * 5], "found None for the row"),
        (lambda rows: [Soft([[1]] * 5, [[]] * 5, [1.0] * 5)], "found a Soft with more ids than probabilities"),
        (lambda rows: [Soft([[1]] * 4, [[1.0]] * 4, [1.0] * 5)], "found 4 for 5 tokens"),
    ],
)
def test_weighs(plugins: Any, tmp_path: Path, gives: Any, found: str) -> None:
    plugins.GIVES[:] = [gives]
    here = given(sft={"weigh": "bad_parts:give_rows"})
    rows = [Tokenized(replace(TRACE, question=replace(QUESTION, id="q")), [1], [1, 2, 3, 4, 5])]
    at = "training.sft.weigh: bad_parts:give_rows: expected a weight of 0 or more for each token"
    refused(lambda: weigh(rows, here, find_weigh(here.config), tmp_path / "kept.json"), at, found)
    plugins.GIVES[:] = [lambda rows: iter(torch.ones(1, 5))]
    assert weigh(rows, here, find_weigh(here.config), tmp_path / "kept.json") == [[1.0] * 5]


@dataclass(frozen=True, kw_only=True)
class Gives(Shape):
    what: Any

    def reward(self, group: Any) -> Any:
        return self.what

    def advantage(self, group: Any, advantages: Any) -> Any:
        return self.what


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        (None, "found None; does it return something?"),
        ([1.0], "found 1 for 2"),
        ([1.0, "2"], "found the text '2' at index 1"),
        ([1.0, NAN], "found nan at index 1"),
        ([[1.0], [1.0]], "found list at index 0"),
    ],
)
def test_shapes(gives: Any, found: str) -> None:
    groups: list[Any] = [SimpleNamespace(scored=[1, 2])]
    at = f"training.rl.shapes: {__name__}:Gives: expected one finite number for each of 2 completions"
    refused(lambda: added([Gives(what=gives)], groups), at, found)
    refused(lambda: shaped([Gives(what=gives)], groups, [1.0, -1.0]), at, found)


@dataclass(frozen=True, kw_only=True)
class Rows(Companion):
    what: Any

    def rows(self, seen: Any) -> Any:
        return self.what

    def factor(self, *_: Any) -> Any:
        return self.what


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        (None, "found None; does it return something?"),
        ([None], "found 1 for 2"),
        ([None] * 3, "found 3 for 2"),
        ([None, ([1], [2])], "found tuple at index 1"),
        ([None, Row("text", [1])], "found a Row whose prompt, completion or teacher are no token ids at index 1"),
        ([None, Row([1], [2], weight=NAN)], "found nan at index 1"),
        ([None, Row([1], [2], teacher=([1],))], "are no token ids at index 1"),  # type: ignore[arg-type]
        ([None, Row([1], [2, 30])], "found a Row with the token id 30, of a vocabulary of 30 at index 1"),
        ([None, Row([-1], [2])], "found a Row with the token id -1, of a vocabulary of 30 at index 1"),
        ([Row([1], [2], teacher=([1], [29, 31])), None], "the token id 31, of a vocabulary of 30 at index 0"),
    ],
)
def test_companions(gives: Any, found: str) -> None:
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(get_input_embeddings=lambda: torch.nn.Embedding(30, 1)),
        companions=[Rows(what=gives)],
        accelerator=SimpleNamespace(device="cpu", unwrap_model=lambda model: model),
        processing_class=tiny_tokenizer(),
    )
    seen = Seen([], [([1], [2]), ([1], [3])], None, 0, 1.0)  # type: ignore[arg-type]
    at = f"training.rl.companions: {__name__}:Rows: expected a realm.training.companions.base.Row, or None"
    refused(lambda: CompanionTrainer.accompany(trainer, seen, {}), at, found)


@pytest.mark.parametrize(("gives", "found"), [(None, "None"), (torch.ones(3), r"a tensor (3,)")])
def test_factors(gives: Any, found: str) -> None:
    call = lambda: _factor(Rows(what=gives), torch.zeros(2, 3), torch.zeros(2, 1), None)  # noqa: E731
    refused(call, f"{__name__}:Rows: expected a factor (rows, tokens) = (2, 3), found {found}")


@pytest.mark.parametrize(
    ("point", "entry", "found"),
    [
        ("steps", "two", "expected (traces, given, *, options), found (traces)"),
        ("steps", "positional", "most stands before the `*`: options stand behind it"),
        ("steps", "untyped", "option most needs a type"),
        ("steps", {"untyped": {"most": 3}}, "option most needs a type"),
        ("steps", "unchecked", "expected options whose types pydantic can check"),
        ("steps", "strange", "expected options whose types pydantic can check"),
        ("steps", "weight", "found (rows, given); that is how a weigh is called: training.sft.weigh"),
        ("steps", "miner", "found (given); that is how a miner is called: training.pairs.miner"),
        ("steps", "Placed", "expected (traces, given, *, options), found"),
        ("weighs", "step", "found (traces, given); that is how a step is called: training.sft.traces"),
        ("miners", "step", "found (traces, given); that is how a step is called: training.sft.traces"),
        ("shapes", "step", "expected a subclass of realm.training.shapes.base.Shape"),
        ("shapes", {"Bare": {"share": 0.2}}, "has no option share; it has none; is it a @dataclass(frozen=True"),
        (
            "shapes",
            "Own",
            "expected a @dataclass(frozen=True, kw_only=True), whose fields are its options, found an __",
        ),
        ("shapes", "Placed", "share stands before the `*`"),
        ("companions", "Alone", "whose fields are its options, found an __init__ of its own"),
        ("companions", "Own", "expected a subclass of realm.training.companions.base.Companion"),
    ],
)
def test_what_cannot_be_called_is_told_before_anything_starts(point: str, entry: Any, found: str) -> None:
    entry = {f"bad_parts:{name}": its for name, its in (entry if isinstance(entry, dict) else {entry: {}}).items()}
    kinds: dict[str, type] = {"shapes": Shape, "companions": Companion}
    call = (lambda: instance(point, entry, kinds[point])) if point in kinds else (lambda: bound(point, entry))
    refused(call, f"{next(iter(entry))}: ", found)


def test_all_of_this_package_can_be_called() -> None:
    from realm.plugins import POINTS

    for point in ("steps", "weighs", "miners"):
        for name in POINTS[point].table:
            needs = {"mentor": {"model": "m"}, "pattern": {"must": "a"}}.get(name, {})
            try:
                bound(point, {name: needs})
            except ConfigError as error:
                assert "Field required" in str(error), error


@pytest.mark.parametrize(
    ("key", "name", "found"),
    [
        ("sft.traces", "[bank, critical]", "(it is a weigh: training.sft.weigh)"),
        ("sft.weigh", "right", "(it is a step: training.sft.traces)"),
        ("rl.shapes", "[red]", "(it is a companion: training.rl.companions)"),
        ("pairs.miner", "mgpo", "(it is a shape: training.rl.shapes)"),
    ],
)
def test_a_name_of_another_key_is_told(key: str, name: str, found: str) -> None:
    refused(lambda: load_config(None, [f"training.{key}={name}"]), found)


def test_what_a_plugin_raises_keeps_its_traceback_and_says_whose_it_is(plugins: Any) -> None:
    with pytest.raises(KeyError, match="mine") as caught:
        run_steps(["bank", "bad_parts:dies"], given())
    assert caught.value.__notes__ == ["Raised inside the plug-in of training.sft.traces: bad_parts:dies."]
    groups: list[Any] = [SimpleNamespace(scored=[1])]
    with pytest.raises(KeyError, match="mine") as caught:
        added([plugins.Dies()], groups)
    assert caught.value.__notes__ == ["Raised inside the plug-in of training.rl.shapes: bad_parts:Dies."]
