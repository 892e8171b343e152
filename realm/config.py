"""The one configuration of every command: typed, validated, written in YAML, each field overridable by `--set`.

A configuration file holds only what differs from the defaults below; the resolved one (every field spelled out) is
saved in the run folder and runs again as it is. Relative paths are taken from the working directory; `${NAME}` and
`${NAME:-default}` in a string are replaced from the environment.
"""

from __future__ import annotations

import difflib
import functools
import operator
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from realm.errors import ConfigError
from realm.plugins import entry, find, trust
from realm.recipes import known, recipe
from realm.recipes.stage import Stage
from realm.sections import (
    DESKS,
    BankConfig,
    CollectConfig,
    EvaluationConfig,
    FadeConfig,
    GuidanceConfig,
    ModelSettings,
    PromptConfig,
    RewardConfig,
    RoutesConfig,
    RunConfig,
    Section,
    TaskConfig,
    TeacherConfig,
    TrainingConfig,
    reads_bank,
)
from realm.written import read_yaml, read_yaml_file

#: Context of a validation that only reads a configuration: a recipe that is not to be had has its settings there.
READING = {"reading": True}


class Config(Section):
    """The whole configuration."""

    run: RunConfig = RunConfig()
    task: TaskConfig = TaskConfig()
    model: ModelSettings = ModelSettings()
    teachers: dict[str, TeacherConfig] = Field(
        {"scripted-clerk": TeacherConfig()},
        description="The teachers whose CoTs fill the bank (`realm collect`): name -> settings.",
    )
    collect: CollectConfig = CollectConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    bank: BankConfig = BankConfig()
    routes: RoutesConfig = RoutesConfig()
    fade: FadeConfig = FadeConfig()
    reward: RewardConfig = RewardConfig()
    prompt: PromptConfig = PromptConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _as_the_recipe_has_it(self) -> Config:
        """What a recipe fixes (see `realm.recipes`) holds whatever else is configured."""
        fixed = known(self.training.recipe)
        for key, value in fixed.settings.items() if fixed else ():
            try:
                different = self.get(key) != value
            except AttributeError as error:
                raise ValueError(
                    f"the recipe {self.training.recipe} fixes {key}, which is no key; {_hint(key)}"
                ) from error
            if different:
                section, _, last = key.rpartition(".")
                setattr(self.get(section), last, value)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.task.name in ("gsm8k", "jsonl") and not self.task.path:
            raise ValueError(f"task.path is needed for the task {self.task.name}: the file of training questions")
        if self.bank.path is None and self.routes.k > self.bank.samples:
            raise ValueError(
                f"routes.k ({self.routes.k}) is above bank.samples ({self.bank.samples}): "
                "a prompt cannot show more CoTs than a question has"
            )
        if self.task.name in DESKS and (self.task.path or self.task.test_path):
            raise ValueError(
                "task.path: the desk brings its own questions; for a file of your own set task.name: jsonl"
            )
        by = self.task.verifier
        chooses = "choice" in (by.values() if isinstance(by, dict) else [by])
        if self.task.name == "jsonl" and chooses and len(self.task.choices) < 2:
            raise ValueError("task.choices needs at least two entries for the verifier `choice`")
        return self

    @model_validator(mode="after")
    def _payable(self) -> Config:
        asked = {name: teacher for name, teacher in self.teachers.items() if teacher.share}
        if not asked:
            raise ValueError("teachers needs at least one with a share above 0")
        prices = {name: (teacher.price.input, teacher.price.output) for name, teacher in asked.items()}
        for name, teacher in asked.items():
            costs = teacher.kind not in ("scripted", "transformers")
            if self.collect.budget.cost is not None and costs and None in prices[name]:
                raise ValueError(f"collect.budget.cost needs both prices of every teacher; {name} lacks one")
        found = {asked[name].price.currency for name, pair in prices.items() if pair != (None, None)}
        if len(found) > 1:
            raise ValueError(f"all prices must be in one currency, found {' and '.join(sorted(found))}")
        return self

    @property
    def run_path(self) -> Path:
        return Path(self.run.dir) / self.run.name

    def get(self, key: str) -> Any:
        """The value of a dotted key, or a section."""
        return functools.reduce(getattr, key.split("."), self)

    def changed(self, changes: Mapping[str, Any]) -> Config:
        """A copy with other values of these dotted keys; a plug-in that they name is the caller's own choice.

        Raises:
            ConfigError: a key is unknown, or a value is out of range.
        """
        trust(changes)
        tree = self.model_dump()
        for key, value in changes.items():
            *section, last = str(key).split(".")
            try:
                functools.reduce(operator.getitem, section, tree)[last] = value
            except (KeyError, TypeError) as error:
                raise ConfigError(f"changes: unknown key {key}; {_hint(str(key))}") from error
        try:
            return Config.model_validate(tree)
        except ValidationError as error:
            raise _explain(error, "changes", ()) from error


def needs_bank(config: Config, stage: Stage) -> bool:
    """Whether a stage shows or teaches CoTs of the bank."""
    if stage.kind == "pairs":
        return reads_bank([of_stage(config, stage).training.pairs.miner])
    if stage.kind == "rl" and any(_reads_bank(name) for name, _ in map(entry, config.training.rl.companions)):
        return True
    steps = stage.traces or (config.training.sft.traces if stage.kind == "sft" else ())
    return bool(stage.k) or reads_bank(steps)


def _reads_bank(companion: str) -> bool:
    with suppress(ValueError):  # what it is for is told where it is made
        return bool(getattr(find("companions", companion), "reads_bank", False))
    return False


def of_stage(config: Config, stage: Stage) -> Config:
    """The configuration with what a stage sets otherwise."""
    changes = {f"training.{stage.kind}.{key}": value for key, value in stage.settings.items()}
    return config.changed(changes) if changes else config


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping by its dotted keys: of `{training: {rl: {steps: 5}}}` the key `training.rl.steps`."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")


def _expand(value: Any, where: str) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string below `value`."""
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            found = os.environ.get(match[1], match[2])
            if found is None:
                raise ConfigError(f"{where}: the environment variable {match[1]} is not set; set it or write a path.")
            return found

        return _VARIABLE.sub(replace, value)
    if isinstance(value, Mapping):
        return {key: _expand(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, where) for item in value]
    return value


def field_names(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Every dotted key of the configuration, in the order of the file."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += field_names(kind, f"{prefix}{name}.")
        elif kind == dict[str, TeacherConfig]:
            names += field_names(TeacherConfig, f"{prefix}{name}.NAME.")
        else:
            names.append(prefix + name)
    return names


#: Keys that runs of earlier versions have written into their config.yaml, and what became of them.
_GONE = {
    "evaluation.vote": "is gone, as voting by scores did not beat a majority (docs/log.md): take it out",
    "evaluation.vote_samples": "is gone with evaluation.vote: take it out",
    "training.rl.internalize": "is an entry of training.rl.companions: [{internalize: {weight: 5, by: sft}}]",
}


def _hint(key: str) -> str:
    """What an unknown dotted key most likely means, for the end of an error message."""
    known = field_names()
    sections = sorted({".".join(name.split(".")[:depth]) for name in known for depth in range(1, name.count(".") + 1)})
    # The last part, where it is a known one in another section, says more than the look of the whole.
    same_last = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    near = difflib.get_close_matches(key, same_last, 3, 0.0) or difflib.get_close_matches(key, known + sections, 1, 0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"the sections are {', '.join(Config.model_fields)}"


def _within(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.")


def _explain(error: ValidationError, file: str, overrides: Sequence[str]) -> ConfigError:
    """One line for each problem that pydantic found, blamed on the override or else on the file it came from."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        # It is about what was set, about a part of it, or about the section that it is in.
        set_here = [text for text in overrides if _within(_key(text), key) or _within(key, _key(text))]
        set_here.sort(key=lambda text: _key(text).rpartition(".")[2] in item["msg"].partition(":")[0])
        where = f"--set {set_here[-1]}" if key and set_here else file
        if item["type"] == "extra_forbidden":
            said = f"{key} {_GONE[key]}." if key in _GONE else f"unknown key {key}; {_hint(key)}"
            lines.append(f"{where}: {said}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            found = "" if isinstance(item["input"], dict | BaseModel) else f", found {item['input']!r}"
            lines.append(f"{where}: {f'{key}: ' if key else ''}{message}{found}.")
    return ConfigError("\n".join(lines))


def _value(assignment: str) -> Any:
    key, sep, text = assignment.partition("=")
    if not sep or not key.strip():
        raise ConfigError(f"--set {assignment}: expected KEY=VALUE, e.g. --set training.rl.steps=200.")
    try:
        value = read_yaml(text, key.strip())
    except yaml.YAMLError:
        return text
    # What is not quoted is the text as it stands: YAML would fold its lines, and end it at a #.
    plain = text.strip()
    said = isinstance(value, str) and plain[0] not in "'\"|>!&*"
    return plain if said or (value is None and plain[:1] == "#") else value


def _set(tree: dict[str, Any], assignment: str) -> None:
    value, node = _value(assignment), tree
    *parents, last = _key(assignment).split(".")
    for depth, parent in enumerate(parents, 1):
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            section = ".".join(parents[:depth])
            raise ConfigError(f"--set {assignment}: {section} has a value here, {child!r}, and is no section.")
        node = child
    node[last] = value


#: What a run has that was begun before the key was there, where that is not its default.
_BEFORE = {"prompt.examples": "none", "training.sft.padding": "batch"}


def _fill(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key where it is not set; what is no section is left to the validation."""
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        node = node.setdefault(parent, {}) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.setdefault(last, value)


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), *, trusted: bool = True) -> Config:
    """Read a YAML file, that of a run's folder, or the defaults, apply `KEY=VALUE` overrides and validate.

    What overrides name, and a file that is `trusted` and not a run's own, may be imported as a plug-in
    (`realm.plugins.trust`).

    Raises:
        ConfigError: the file is missing or is not YAML, a key is unknown, or a value is out of range.
    """
    tree: dict[str, Any] = {}
    where = "configuration"
    if path is not None:
        folder = Path(path).is_dir()
        path = Path(path) / "config.yaml" if folder else Path(path)
        where = str(path)
        loaded = read_yaml_file(path, "configuration")
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(f"{path}: expected a mapping of sections, found {type(loaded).__name__}.")
        tree = loaded or {}
        of_run = path.with_name("meta.json").exists()
        if trusted and not folder and not of_run:  # a run's file may be anybody's
            trust(tree)
        if of_run:
            for key, value in _BEFORE.items():
                _fill(tree, key, value)
    trust([_value(text) for text in overrides])
    before = _recipe(tree)
    for assignment in overrides:
        _set(tree, assignment)
    if _recipe(tree) != before:
        _release(tree, before, overrides)
    config = make_config(tree, where, overrides)
    _refuse_against_recipe(config, overrides)
    return config


def make_config(tree: Mapping[str, Any], where: str = "configuration", overrides: Sequence[str] = ()) -> Config:
    """The configuration that a tree of sections says.

    Args:
        where: it comes from, for messages.
        overrides: the `KEY=VALUE` that are in it already, for messages too.

    Raises:
        ConfigError: a key is unknown, or a value is out of range.
    """
    try:
        return Config.model_validate(_expand(tree, where))
    except ValidationError as error:
        raise _explain(error, where, overrides) from error


def _recipe(tree: Mapping[str, Any]) -> str:
    training = tree.get("training")
    return str(training.get("recipe")) if isinstance(training, Mapping) else ""


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


def _release(tree: dict[str, Any], before: str, overrides: Sequence[str]) -> None:
    """Take out what the recipe `before` fixed when the file was resolved: another one must not inherit it."""
    given = {_key(text) for text in overrides}
    fixed = known(before)
    for key, value in fixed.settings.items() if fixed else ():
        *parents, last = key.split(".")
        node: Any = tree
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict) and key not in given and node.get(last) == value:
            del node[last]


def _refuse_against_recipe(config: Config, overrides: Sequence[str]) -> None:
    """Raise `ConfigError` for an override of what the recipe fixes; a value in a file gives way to the recipe."""
    for key, wanted in recipe(config.training.recipe).settings.items():
        for text in (text for text in overrides if _within(key, _key(text))):
            value = _value(text)
            for part in key.split(".")[_key(text).count(".") + 1 :]:  # of a section that is set as one
                value = value.get(part, wanted) if isinstance(value, dict) else wanted
            if value != wanted:
                raise ConfigError(
                    f"--set {text}: the recipe {config.training.recipe} fixes {key} at {wanted}; leave it out, or take "
                    "another training.recipe."
                )


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back unchanged."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
