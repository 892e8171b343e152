"""The configuration: what it refuses and in which words, what it replaces, and that it runs again as it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from realm.config import dump_config, field_names, load_config
from realm.errors import ConfigError
from realm.written import read_yaml

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.rl.step=3", "unknown key training.rl.step; did you mean training.rl.steps?"),
        ("k=3", "unknown key k; did you mean routes.k?"),
        ("training.steps=3", "did you mean training.rl.steps or training.sft.steps or training.pairs.steps?"),
        ("collect.samples=3", "did you mean evaluation.samples or bank.samples?"),
        ("rutes.k=3", "--set rutes.k=3: unknown key rutes; did you mean routes?"),
        ("foo=3", "unknown key foo; the sections are run, task, model,"),
        ("fade.p_start=1.5", "fade.p_start: Input should be less than or equal to 1, found 1.5."),
        ("training.recipe=dpo", "synthesizer-rl or a package.module:attribute (did you mean grpo?), found 'dpo'."),
        ("training.rl.batch_size=10", "batch_size (10) must be a multiple of num_generations G (8), e.g. 8."),
        ("training.rl.micro_batch_size=36", "batch_size (96) must be a multiple of micro_batch_size (36)"),
        ("routes.k=9", "routes.k (9) is above bank.samples (8)"),
        ("fade.hold=0.95", "hold (0.95) must be below fade_end (0.9)"),
        ("prompt.think_tag=1st", "prompt: a tag must be a letter followed by letters, digits, - or _, found '1st'"),
        ("prompt.think_tag=Answer", "the tags must differ from each other and from `route`"),
        ("task.name=jsonl", "task.path is needed for the task jsonl"),
        ("training.rl.learning_rate=fast", "training.rl.learning_rate: Input should be a valid number"),
        ("training.rl=3", "training.rl: Input should be a valid dictionary"),
        ("run.seed.x=3", "run.seed: Input should be a valid integer"),
        ("training.rl.internalize.schedule=rising", "training.rl.internalize is an entry of training.rl.companions"),
        ("training.rl.companions=[internalise]", "training.rl.companions.0: expected internalize"),
        ("evaluation.vote=true", "--set evaluation.vote=true: evaluation.vote is gone, as voting by scores did not"),
        ("training.sft.traces=[bnak]", "--set training.sft.traces=[bnak]: training.sft.traces.0: expected "),
        ("nonsense", "--set nonsense: expected KEY=VALUE"),
        ("=3", "--set =3: expected KEY=VALUE"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert str(caught.value).count("\n") <= 1


def test_what_internalize_was_is_read_as_the_companion() -> None:
    before = [f"training.rl.internalize.{text}" for text in ("weight=5", "by=distill")]
    assert load_config(None, before).training.rl.companions == [{"internalize": {"weight": 5, "by": "distill"}}]
    assert load_config(None, before[1:]).training.rl.companions == [], "its weight was 0"
    with pytest.raises(ConfigError, match=r"training\.rl\.internalize is an entry of training\.rl\.companions"):
        load_config(None, [*before, "training.rl.companions=[red]"])


def test_overrides_in_order_and_numbers_with_exponents() -> None:
    config = load_config(None, ["training.rl.steps=7", "training.rl.learning_rate=6e-5", "training.rl.steps=8"])
    assert (config.training.rl.steps, config.training.rl.learning_rate) == (8, 6e-5)


@pytest.mark.parametrize(
    "text",
    ["Use the tag #1 alone.", "Think.\nThen answer.\n\nNo more.", "# Role\nA clerk.", "# Role", "It's (so) [here]"],
)
def test_a_text_is_set_as_it_stands(text: str) -> None:
    """Were it all YAML, lines would be folded, and what follows a # would be a comment."""
    assert load_config(None, [f"prompt.system={text}"]).prompt.system == text


@pytest.mark.parametrize("text", ["'a #b'", '"a #b"', "!!str a #b"])
def test_a_text_in_quotes_is_yaml(text: str) -> None:
    assert load_config(None, [f"prompt.system={text}"]).prompt.system == ("a" if "!" in text else "a #b")


def test_a_section_that_is_set_as_one_does_not_give_way_to_a_recipe() -> None:
    with pytest.raises(ConfigError, match=r"the recipe mrpv fixes fade\.schedule at constant"):
        load_config(None, ["training.recipe=mrpv", "fade={schedule: linear, p_end: 0.5}"])
    config = load_config(None, ["training.recipe=mrpv", "fade={schedule: constant, granularity: count}"])
    assert config.fade.granularity == "count"


def test_a_section_that_was_set_to_a_value_cannot_be_entered() -> None:
    with pytest.raises(
        ConfigError, match=r"--set training\.rl\.steps=4: training\.rl has a value here, 3, and is no section"
    ):
        load_config(None, ["training.rl=3", "training.rl.steps=4"])


def test_what_is_saved_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config(None, ["task.name=jsonl", "task.path=a b.jsonl", "routes.error_range=[0.1, 0.3]"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_every_key_has_a_meaning_or_a_section_that_tells_it() -> None:
    names = field_names()
    assert "training.rl.num_generations" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "expected a mapping of sections, found list"),
        ("training: {rl: {stepz: 3}}", "unknown key training.rl.stepz; did you mean training.rl.steps?"),
        ("training: {rl: {steps: 3}}\nrun: {seed: 1}\ntraining: {rounds: 2}", "the key 'training' is there twice"),
        ("routes: {k: 1, k: 2}", "the key 'k' is there twice; make one of the two in \"<unicode string>\", line 1"),
        ("model: {path: '${REALM_TEST_UNSET}'}", "the environment variable REALM_TEST_UNSET is not set"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        load_config(path)
    assert message in str(caught.value)


def test_missing_file_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "binary.yaml")


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_TEST_DIR", "/data")
    config = load_config(None, ["model.path=${REALM_TEST_DIR}/m", "run.dir=${REALM_TEST_UNSET:-here}/runs"])
    assert (config.model.path, config.run.dir) == ("/data/m", "here/runs")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_configurations_that_come_along_are_valid(path: Path) -> None:
    assert load_config(path).run.name


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("off", "off"), ("'off'", "off"), ("false", "off")])
def test_a_bare_off_is_no_boolean(text: str, value: str) -> None:
    """YAML 1.1 reads `off` as false."""
    config = load_config(None, [f"training.rl.shared_prefix={text}"])
    assert config.training.rl.shared_prefix == value
    assert yaml.safe_load(dump_config(config))["training"]["rl"]["shared_prefix"] == value


@pytest.mark.parametrize("text", ["true", "on", "always", "0"])
def test_other_values_of_shared_prefix_are_errors(text: str) -> None:
    with pytest.raises(ConfigError, match="shared_prefix"):
        load_config(None, [f"training.rl.shared_prefix={text}"])


WRITTEN = [
    ("[yes, no]", ["yes", "no"]),
    ("[Yes, NO]", ["Yes", "NO"]),
    ("[on, off]", ["on", "off"]),
    ("[True, False]", ["True", "False"]),
    ("[1, 2]", ["1", "2"]),
    ("[1.50, 010, 1_000]", ["1.50", "010", "1_000"]),
    ("[null, ~]", ["null", "~"]),
    ("[12:30, 2024-01-31]", ["12:30", "2024-01-31"]),
    ("['yes', \"no\"]", ["yes", "no"]),
    ("[A, B, C]", ["A", "B", "C"]),
]


@pytest.mark.parametrize(("text", "choices"), WRITTEN)
def test_choices_are_the_words_that_stand_there(tmp_path: Path, text: str, choices: list[str]) -> None:
    (tmp_path / "config.yaml").write_text(f"task: {{verifier: choice, choices: {text}}}\nbank: {{relabel: no}}")
    config = load_config(tmp_path / "config.yaml")
    assert config.task.choices == choices
    assert config.bank.relabel is False  # anything else is YAML as ever
    (tmp_path / "saved.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "saved.yaml") == config
    for override in (f"task.choices={text}", f"task={{choices: {text}}}"):
        assert load_config(None, [override]).task.choices == choices


def test_what_an_example_says_are_the_words_that_stand_there(tmp_path: Path) -> None:
    text = "[{question: 010, think: 1.50, answer: yes}, {question: a, think: b, answer: 2050}]"
    said = [["010", "1.50", "yes"], ["a", "b", "2050"]]
    (tmp_path / "config.yaml").write_text(f"prompt: {{judge: no, examples: {text}}}")
    config = load_config(tmp_path / "config.yaml")
    assert [list(one.values()) for one in config.prompt.examples] == said and config.prompt.judge is False  # type: ignore[union-attr]
    assert load_config(None, [f"prompt.examples={text}"]).prompt.examples == config.prompt.examples
    (tmp_path / "config.yaml").write_text("prompt: {examples: [{question: a, think: [1], answer: &x 2, more: *x}]}")
    with pytest.raises(
        ConfigError, match=r"prompt\.examples: expected auto, none, or a list .*'think': \[1\], 'answer': '2'"
    ):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("task:\n  choices:\n  - yes\n  - no\n", ["yes", "no"]),
        ("run: {name: &x 'off'}\ntask: {choices: [*x, on]}", ["off", "on"]),
        ("task: &t\n  choices: [yes, no] # comment", ["yes", "no"]),
    ],
)
def test_choices_in_other_forms_of_yaml(tmp_path: Path, text: str, choices: list[str]) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert load_config(tmp_path / "config.yaml").task.choices == choices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: {choices: yes}", "task.choices: Input should be a valid list"),
        ("task: {choices: [a, [b]]}", "task.choices.1: Input should be a valid string"),
        ("task: {choices: [yes, no}", "not valid YAML"),
    ],
)
def test_what_no_list_of_choices_is(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("task: &t {choices: [yes, no], columns: *t}", "line 1, column 7"),
        ("task:\n  choices: &c [a, *c]", "line 2, column 12"),
        ("prompt: {examples: [&x {question: 1, think: *x}]}", "line 1, column 21"),
        ("&a {? [*a] : 1}", "line 1, column 1"),
    ],
)
def test_what_holds_itself_is_refused(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"not valid YAML: a value that holds itself .*{place}") as found:
        load_config(tmp_path / "config.yaml")
    assert "\n" not in str(found.value)
    with pytest.raises(ConfigError, match=r"--set training\.rl\.companions=&c \[\*c\]: .* valid list"):
        load_config(None, ["training.rl.companions=&c [*c]"])


def test_what_is_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"run: {'[' * 5000}{']' * 5000}")
    with pytest.raises(ConfigError, match=r"not valid YAML: nested too deeply"):
        load_config(tmp_path / "config.yaml")


def test_an_anchor_may_stand_in_many_places() -> None:
    assert read_yaml("a: &a [1]\nb: &b [*a, *a]\nc: {d: *b, e: *b}")["c"]["e"] == [[1], [1]]
    assert read_yaml("") is None
    assert read_yaml("arms: {a: {set: {task.choices: [yes]}}}") == {"arms": {"a": {"set": {"task.choices": ["yes"]}}}}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training.rl.stepz", 1, "changes: unknown key training.rl.stepz; did you mean training.rl.steps?"),
        ("training.nope.steps", 1, "changes: unknown key training.nope.steps; did you mean"),
        ("training.rl.steps.x", 1, "changes: unknown key training.rl.steps.x"),
        ("training.rl.steps", -1, "changes: training.rl.steps: Input should be greater"),
    ],
)
def test_a_change_that_cannot_be_is_one_line(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError) as found:
        load_config().changed({key: value})
    assert str(found.value).startswith(said) and "\n" not in str(found.value)
