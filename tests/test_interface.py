"""The public interface: its names and signatures as they are promised, and what importing it costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import realm

ROOT = Path(__file__).resolve().parents[1]
PROMISED = Path(__file__).with_name("interface.txt")


def _promise(name: str) -> str:
    found = getattr(realm, name)
    # The keys of a configuration are documented, and refused, by name.
    plain = not callable(found) or found is realm.Config
    return name if plain else re.sub(r"<function (\w+) at 0x\w+>", r"\1", f"{name}{inspect.signature(found)}")


def test_names_and_signatures_are_those_promised() -> None:
    """A change here is one of the interface: tests/interface.txt and CHANGELOG.md tell of it."""
    assert "\n".join(map(_promise, sorted(realm.__all__))) == PROMISED.read_text(encoding="utf-8").strip()


def test_importing_it_imports_nothing_heavy() -> None:
    program = "import realm, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "trl", "datasets", "pydantic", "numpy"} & set(loaded)


def test_the_method_needs_no_torch() -> None:
    program = (
        "import sys, realm\n"
        "realm.Schedule(), realm.draw, realm.parse, realm.reward, realm.RewardFunction('number')\n"
        "print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = realm.Trainer  # type: ignore[attr-defined]
    assert set(realm.__all__) <= set(dir(realm))


def test_types_are_part_of_the_package() -> None:
    assert (ROOT / "realm" / "py.typed").is_file()


def test_the_reward_in_trl_s_form_and_in_verl_s() -> None:
    judged = realm.RewardFunction("number")
    right = "<think> 2 and 2 </think> <answer> 4 </answer> <scores> 1, 0 </scores>"
    wrong = "<think> hm </think> <answer> 5 </answer> <scores> 1, 0 </scores>"
    columns = {"answer": ["4", "4", "4"], "labels": [[1, 0], [1, 0], []], "question": ["2+2?"] * 3}
    chat = [{"role": "assistant", "content": "<think> x </think> <answer> 4.0 </answer>"}]
    # 0.1 for the form, 1 for the answer, 0.5 for the scores; without routes the whole of the last
    assert judged(prompts=[""] * 3, completions=[right, wrong, chat], **columns) == pytest.approx([1.6, 0.1, 1.6])
    found = judged.verl("realm/sums", right, "4", {"labels": [1, 0], "question": "2+2?"})
    assert (found["score"], found["correct"], found["scoring"]) == pytest.approx((1.6, 1.0, 1.0))
