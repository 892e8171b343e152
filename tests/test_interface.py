"""The public interface: its names and signatures as they are promised, and what importing it costs."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import realm
from realm.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[1]
PROMISED = Path(__file__).with_name("interface.txt")


def _promise(name: str) -> str:
    found = getattr(realm, name)
    # The keys of a configuration are documented, and refused, by name.
    plain = not callable(found) or found in (realm.Config, realm.UserError)
    return name if plain else re.sub(r"<function (\w+) at 0x\w+>", r"\1", f"{name}{inspect.signature(found)}")


def test_names_and_signatures_are_those_promised() -> None:
    """A change here is one of the interface: tests/interface.txt and CHANGELOG.md tell of it."""
    assert "\n".join(map(_promise, sorted(realm.__all__))) == PROMISED.read_text(encoding="utf-8").strip()


def test_importing_it_imports_nothing_heavy() -> None:
    program = "import realm, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "trl", "datasets", "pydantic", "numpy"} & set(loaded)


def test_the_method_and_the_types_of_plug_ins_need_no_torch() -> None:
    program = (
        "import sys, realm, realm.recipes.stage, realm.teacher.base, realm.traces.base\n"
        "realm.Schedule(), realm.draw, realm.parse, realm.reward, realm.RewardFunction('number')\n"
        "print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = realm.Trainer  # type: ignore[attr-defined]
    assert {*realm.__all__, "__version__"} == set(dir(realm))


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


def test_golds_are_read_as_everywhere_and_one_that_nothing_equals_is_told() -> None:
    judged = realm.RewardFunction("number")
    right = "<think> 2 </think> <answer> 2 </answer>"
    golds = [2, 2.0, ["2"], "so\n#### 2", np.int64(2)]
    assert judged(completions=[right] * 5, answer=golds) == pytest.approx([1.6] * 5)
    assert judged.verl("x", right, 2)["correct"] == 1.0
    for gold in ("about two", None, ["1", "2"]):
        with pytest.raises(DataError, match="answer of completion 0: "):
            judged(completions=[right], answer=[gold])
    with pytest.raises(DataError, match="answer: expected one for each of 2 completions, found 1"):
        judged(completions=[right, right], answer=["2"])
    with pytest.raises(ConfigError, match=r"rule: expected l1, .* found 'l3'"):
        realm.RewardFunction("number", rule="l3")
    again = pickle.loads(pickle.dumps(judged))
    assert again(completions=[right], answer=["2"]) == pytest.approx([1.6])


def test_a_configuration_is_that_of_the_command(tmp_path: Path) -> None:
    assert realm.load_config().training.rl.max_completion_length == 64, "the desk's"
    (tmp_path / "config.yaml").write_text("run: {name: there}\n")
    assert realm.load_config(tmp_path, ["run.seed=3"]).run.seed == 3
    with pytest.raises(realm.UserError, match="expected a list of KEY=VALUE"):
        realm.load_config(None, "run.name=x")
    assert realm.__version__
