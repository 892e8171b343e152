import io
from dataclasses import replace

from rich.console import Console

from realm.training.progress import describe, live
from realm.training.recorder import Event

EVENT = Event("rl", 0, 3, 6, 75.4)


def test_describe() -> None:
    assert describe(EVENT) == "1:15 left"
    known = replace(EVENT, reward=0.5, without=0.25, shown=1.0)
    assert describe(known) == "reward 0.50 · accuracy 25% without, 100% with routes · 1:15 left"


def test_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with live(Console(file=out, width=200), "grpo") as show:
        for step in range(1, 7):
            show(replace(EVENT, step=step))
    lines = out.getvalue().splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["grpo rl 1/6", "grpo rl 6/6"], "not one a step"


def test_bars_on_a_terminal() -> None:
    out = io.StringIO()
    with live(Console(file=out, width=200, force_terminal=True), "realm-r1") as show:
        show(replace(EVENT, stage="sft", steps=4, step=4))
        show(replace(EVENT, round=1, reward=0.5))
    assert "realm-r1 sft" in out.getvalue() and "realm-r1 rl 2" in out.getvalue() and "3/6" in out.getvalue()
