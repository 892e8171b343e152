"""From the file of an experiment to its cells: one training run for every arm and seed, named by what it is.

A cell's folder ends in a hash over its resolved configuration, without the run's name and place and with the bank
replaced by what it is collected with, and over the content of the files that it names. So an equal cell is trained
once, whichever experiment below the same folder asks for it, and a cell whose settings were changed is another one. The
same holds for banks and evaluations.

Accuracy with routes is compared only where all arms are shown the same routes. An arm that trains with other routes
(another k, selection or bank) is therefore evaluated once more, with those of `base`.

All seeds answer the same questions: a file's questions are split by the first seed. A teacher that costs something is
asked once for all seeds.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import yaml

from realm.bank.cot import digest
from realm.config import Config, load_config
from realm.errors import ConfigError
from realm.experiments.contents import content, contents
from realm.experiments.spec import UNTRAINED, Spec
from realm.recipes import plan
from realm.sections import DESKS, PACKAGED_BASE

FAST_NOTE = "A fast run: so few steps and questions show that everything works; the figures mean little."
#: The most steps and questions of a fast run.
FAST = {
    "training.rl.steps": 16,
    "training.sft.steps": 6,
    "training.pairs.steps": 6,
    "training.eval_every": 8,
    "training.eval_questions": 32,
    "training.save_every": 8,
    "training.sample_every": 4,
    "task.max_test": 64,
}
#: Settings of the embedded desk, as `realm train` without CONFIG uses them.
DESK = Path(__file__).parent.parent / "desk" / "desk.yaml"
#: What decides which CoTs a bank holds.
_COLLECTED = ("task", "teachers", "guidance")
#: Keys that came later: at their defaults (or at the value of before, in `_WAS`) they do not count, so that cells keep
#: the names that they had before.
_LATER = (
    "training.average",
    "training.best",
    "training.sft.padding",
    "training.rl.shapes",
    "training.rl.companions",
    "training.rl.epsilon_high",
    "training.rl.top_entropy_quantile",
    "training.rl.mask_truncated",
    "evaluation.stop_temperature",
    "evaluation.confidence",
    "evaluation.precision",
    "evaluation.precision_on",
    "evaluation.edits",
    "prompt.examples",
)
_WAS = {"training.sft.padding": "batch"}
#: Name of an arm; None is what all have in common.
Arm = str | None
#: Hexadecimal digits of a hash in a folder's name.
_DIGITS = 8


@dataclass(frozen=True)
class Cell:
    """One arm with one seed.

    Attributes:
        config: of the training; of the evaluation where nothing is trained.
        trained: folder of the training run; None where there is none: the untrained model, arms of the kind `models`.
        evaluated: folder of the evaluation that is compared: `trained`, or one of its own.
        evaluation: settings of that evaluation; None where it is the training's own.
    """

    arm: str
    seed: int
    config: Config
    trained: Path | None
    evaluated: Path
    evaluation: Config | None


@dataclass
class Grid:
    """All cells of an experiment, and the banks to be collected for them: folder -> settings."""

    common: Config
    cells: list[Cell] = field(default_factory=list)
    banks: dict[Path, Config] = field(default_factory=dict)
    _folders: dict[tuple[str, int, str], Path] = field(default_factory=dict)

    def of(self, arm: str) -> list[Cell]:
        """The cells of an arm in the order of the seeds."""
        return [cell for cell in self.cells if cell.arm == arm]

    def folder(self, parent: Path, name: str, seed: int, digest: str) -> Path:
        """The folder of a cell: that of its hash which is there or planned, under whatever arm's name, or a new one."""
        there = sorted(parent.glob(f"*-seed{seed}-{digest}"))
        new = there[0] if there else parent / f"{name}-seed{seed}-{digest}"
        return self._folders.setdefault((parent.name, seed, digest), new)


def base_config(spec: Spec, file: Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration that the arms change: file, then `base`, then `overrides` (KEY=VALUE of the command line).

    Raises:
        ConfigError: a key is unknown or a value out of range; names the experiment's file where it comes from there.
    """
    _load(spec, f"{file}: base", _texts(spec.base))
    return load_config(spec.config or DESK, [*_texts(spec.base), *overrides])


def make_grid(
    spec: Spec, file: Path, out: Path, *, seeds: int, overrides: Sequence[str] = (), fast: bool = False
) -> Grid:
    """Resolve every arm for every seed; nothing is written.

    Args:
        file: of the experiment; named in errors.
        out: folder below which cells and banks lie, whole or yet to be made.
        seeds: their number, one where nothing is trained; the first is `run.seed` of the base.
        overrides: KEY=VALUE for all arms that do not set the key themselves.
        fast: cap steps and questions, to see that everything works.

    Raises:
        ConfigError: see `base_config`; or arms are evaluated differently.
    """
    out = out.resolve()
    first = base_config(spec, file, overrides).run.seed

    def resolve(arm: str | None, seed: int) -> Config:
        config = _resolve(spec, file, arm, seed, overrides, fast)
        if config.task.split_seed is None and config.task.name not in DESKS:  # the desk's splits are fixed
            config = config.changed({"task.split_seed": first})
        return config

    grid = Grid(resolve(None, first))
    for seed in range(first, first + (1 if spec.kind == "models" else seeds)):
        names = [] if spec.kind == "models" and not grid.common.routes.k else [None, *spec.arms]
        each = {name: resolve(name, seed) for name in (None, *spec.arms)}
        each |= _with_banks({name: each[name] for name in names}, out, grid.banks)
        common = each[None]
        if spec.untrained:
            folder = grid.folder(out / "cells", UNTRAINED, seed, _evaluation_hash(common, grid.banks))
            grid.cells.append(Cell(UNTRAINED, seed, common, None, folder, common))
        for arm in spec.arms:
            config = each[arm]
            if spec.kind == "models":
                if (config.task, config.evaluation.splits) != (common.task, common.evaluation.splits):
                    raise ConfigError(f"{file}: arms.{arm}: `task` and `evaluation.splits` must be those of `base`.")
                config = config.changed({"routes": common.routes.model_dump(), "bank": common.bank.model_dump()})
                folder = grid.folder(out / "cells", arm, seed, _evaluation_hash(config, grid.banks))
                grid.cells.append(Cell(arm, seed, config, None, folder, config))
                continue
            _check_evaluation(file, arm, config, common)
            grid.cells.append(_cell(arm, config, common, out, grid))
    return grid


def _resolve(spec: Spec, file: Path, arm: str | None, seed: int, overrides: Sequence[str], fast: bool) -> Config:
    texts = [*_texts(spec.base), *overrides]
    where = f"{file}: base"
    if arm is not None:
        settings = spec.arms[arm]
        bank = spec.banks[settings.bank] if settings.bank else {}
        texts += [*_texts(bank), *_texts(settings.set)]
        where = f"{file}: arms.{arm}"
    config = _load(spec, where, [*texts, f"run.seed={seed}"])
    if fast:
        config = config.changed(_caps(config))
    return _of_one_budget(config, where) if spec.one_budget else config


def _of_one_budget(config: Config, where: str) -> Config:
    """The steps of what comes before RL are taken from those of RL, so that no arm gets more of them than another."""
    kinds = {stage.kind for stage in plan(config)}
    before = [kind for kind in ("sft", "pairs") if kind in kinds]
    if "rl" not in kinds or not before:
        return config
    steps, rl = sum(getattr(config.training, kind).steps for kind in before), config.training.rl.steps
    if steps >= rl:
        keys = " + ".join(f"training.{kind}.steps" for kind in before)
        raise ConfigError(
            f"{where}: {keys} ({steps}) must be below training.rl.steps ({rl}): what comes before RL is taken out of "
            "the common budget of steps."
        )
    return config.changed({"training.rl.steps": rl - steps})


def _texts(values: Mapping[str, Any]) -> list[str]:
    """Overrides as `load_config` takes them: KEY=VALUE, the value as YAML on one line."""
    return [f"{key}={_yaml(value)}" for key, value in values.items()]


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


def _load(spec: Spec, where: str, texts: Sequence[str]) -> Config:
    try:
        return load_config(spec.config or DESK, texts)
    except ConfigError as error:
        lines = [f"{where}: {line.removeprefix('--set ')}" for line in str(error).splitlines()]
        raise ConfigError("\n".join(lines)) from error


def _caps(config: Config) -> dict[str, Any]:
    """The fast settings, where they are below those configured."""
    values = {key: config.get(key) for key in FAST}
    return {key: FAST[key] if value is None else min(value, FAST[key]) for key, value in values.items()}


def _check_evaluation(file: Path, arm: str, config: Config, common: Config) -> None:
    task = config.task.model_copy(update={"max_train": common.task.max_train})
    if task != common.task or config.evaluation != common.evaluation:
        raise ConfigError(
            f"{file}: arms.{arm}: `task` (but for `task.max_train`) and `evaluation` must be those of `base`, so that "
            "all arms answer the same questions in the same way; set them there."
        )
    if _limit(config) != _limit(common):
        raise ConfigError(
            f"{file}: arms.{arm}: training.rl.max_completion_length must be that of `base` ({_limit(common)}), as it "
            f"also cuts the completions that are compared; found {_limit(config)}. Set it there, or set "
            "evaluation.max_completion_length there."
        )


def _limit(config: Config) -> int:
    """Tokens that a completion of the evaluation may have."""
    return config.evaluation.max_completion_length or config.training.rl.max_completion_length


def _with_banks(each: Mapping[Arm, Config], out: Path, banks: dict[Path, Config]) -> dict[Arm, Config]:
    """The configurations with the paths of their banks; those that are to be collected are noted in `banks`.

    Arms of fewer questions learn from a part of the bank of those with more: nobody is asked twice.
    """
    alike: dict[str, list[Arm]] = {}
    for name, config in each.items():
        if config.bank.path is None:
            alike.setdefault(digest(_wanted(config.changed({"task.max_train": None}))), []).append(name)
    found = dict(each)
    for names in alike.values():
        largest = max((each[name] for name in names), key=lambda config: config.task.max_train or inf)
        folder = out / "banks" / digest(_wanted(largest), _DIGITS)
        banks.setdefault(folder, largest)
        found |= {name: each[name].changed({"bank.path": str(folder)}) for name in names}
    return found


def _wanted(config: Config) -> dict[str, Any]:
    """What decides which CoTs a bank holds."""
    tree = _dump(config)
    wanted = {name: tree[name] for name in _COLLECTED}
    wanted |= {"samples": tree["bank"]["samples"], "splits": tree["collect"]["splits"]}
    wanted["seed"] = None if _costly(config) else config.run.seed
    wanted["content"] = {key: value for key, value in contents(config).items() if key.split(".")[0] in _COLLECTED}
    return wanted


def _dump(config: Config) -> dict[str, Any]:
    """The configuration without what came later and only says how a teacher is asked, never what."""
    tree = config.model_dump(mode="json")
    for teacher in tree["teachers"].values():
        del teacher["batch"], teacher["batch_samples"], teacher["price"]["cached"], teacher["price"]["batch"]
    return tree


def _costly(config: Config) -> bool:
    """Whether CoTs are asked of a teacher that takes money or time: one bank of it then serves all seeds."""
    return any(teacher.kind != "scripted" and teacher.share for teacher in config.teachers.values())


def _cell(arm: str, config: Config, common: Config, out: Path, grid: Grid) -> Cell:
    seed = config.run.seed
    name = digest(_tree(config, grid.banks), _DIGITS)
    trained = grid.folder(out / "cells", arm, seed, name)
    config = config.changed({"run.dir": str(trained.parent), "run.name": trained.name})
    if config.routes == common.routes and (config.bank.path == common.bank.path or not common.routes.k):
        return Cell(arm, seed, config, trained, trained, None)
    changes = {"routes": common.routes.model_dump(), "bank": common.bank.model_dump()}
    evaluation = config.changed({**changes, "model.path": str(trained / "model")})
    key = digest([name, _evaluation_hash(evaluation, grid.banks, model="trained")], _DIGITS)
    return Cell(arm, seed, config, trained, grid.folder(out / "evaluations", arm, seed, key), evaluation)


def _evaluation_hash(config: Config, banks: Mapping[Path, Config], model: str | None = None) -> str:
    """Hash over what decides an evaluation; `model` stands for the model's path where that is no part of it."""
    tree = _tree(config, banks)
    if model is not None:
        tree["model"]["path"] = model
        del tree["content"]["model.path"]
        tree["prompt"].pop("examples", None)  # those of the training
    # What only collects and trains decides no evaluation of a given model.
    tree["content"] = {
        key: value for key, value in tree["content"].items() if key.split(".")[0] not in ("teachers", "training")
    }
    names = ("task", "model", "bank", "routes", "prompt", "evaluation", "content")
    return digest({**{name: tree[name] for name in names}, "limit": _limit(config), "seed": config.run.seed}, _DIGITS)


def _tree(config: Config, banks: Mapping[Path, Config]) -> dict[str, Any]:
    """The configuration as far as it decides an outcome: without name and place, a collected bank by its hash."""
    tree = _dump(config)
    del tree["run"]["name"], tree["run"]["dir"], tree["run"]["report_to"], tree["evaluation"]["bootstrap"]
    for key in _LATER:
        section, _, last = key.rpartition(".")
        if config.get(key) == _WAS.get(key, type(config.get(section)).model_fields[last].default):
            del functools.reduce(operator.getitem, section.split("."), tree)[last]
    if config.model.path != PACKAGED_BASE:  # whose prompts alone are those of before there were examples
        tree["prompt"]["examples"] = config.prompt.examples
    tree["training"]["rl"]["internalize"] = {"weight": 0.0, "by": "sft"}  # stood here before it was a companion
    path = Path(config.bank.path or "")
    tree["bank"]["path"] = path.name if path in banks else [str(path), content(str(path))]
    tree["content"] = contents(config)
    return tree
