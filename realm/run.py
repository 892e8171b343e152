"""A run is a folder: `config.yaml`, `meta.json` and append-only JSONL files that hold everything a report shows.

How files are written so that a kill at any moment leaves nothing torn: `realm.files`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel

from realm import __version__
from realm.config import Config, dump_config, load_config
from realm.errors import ConfigError, DataError, ResourceError
from realm.files import append_jsonl, to_line, write_atomic, writing
from realm.locks import LOCK, Hold, hold
from realm.processes import launched
from realm.rows.base import STAGES, Place, Row, Stage, record
from realm.rows.evaluation import Evaluation
from realm.rows.run import Meta
from realm.rows.training import Sampled, Step
from realm.run_rows import read_places, read_row, read_rows

#: Banks may have cost a teacher's fees, and so survive `overwrite`: the one that a run learns from, not made by the
#: run, and those of what steps asked teachers for (`realm.traces.asking`).
KEPT = ("bank", "instructors/bank", "asked/bank")
#: What may differ from the interrupted run on resume, because the trajectory stays the one that was configured.
FREE_ON_RESUME = (
    "run.dir", "run.name", "run.report_to", "evaluation",
    "training.save_every", "training.keep_checkpoints", "training.log_every", "training.sample_every",
    "training.sample_groups", "training.eval_every", "training.eval_questions",
    # What fits into memory: the same sums in another order, equal up to rounding (but for loss_type bnpo, whose mean is
    # that of a micro-batch).
    "training.rl.micro_batch_size", "training.sft.micro_batch_size", "training.pairs.micro_batch_size",
    "training.rl.gradient_checkpointing",
    "training.rl.vllm_url", "collect",
)  # fmt: skip
#: What decides the model after all where several checkpoints do.
_SPACING = ("training.save_every", "training.keep_checkpoints", "training.log_every")
#: What is deleted first and, in this order, last: weights, and what says that there is a run.
_FIRST, _LAST = ("model", "checkpoints"), ("config.yaml", "meta.json")
#: Where a process other than the main one notes its failure, by its number.
_FAILURE = "failure-{}.json"
R = TypeVar("R", bound=Row)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers; those not installed are left out."""
    found = {"python": platform.python_version(), "realm-slm": f"{__version__} (sources {sources()})"}
    for name in ("torch", "transformers", "trl", "accelerate", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def sources() -> str:
    """Eight hex digits of the package's own modules: two runs of one version may be of different code."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def machine() -> str:
    """The machine in one line: system, architecture, CPU cores, and the GPU where torch is loaded and sees one."""
    parts = [f"{platform.system()} {platform.machine()}", f"{os.cpu_count()} CPU cores"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
    return ", ".join(parts)


def _deletion(item: Path) -> int:
    """When an item of a run's folder is deleted: lower goes first."""
    if item.name in _FIRST:
        return -1
    return _LAST.index(item.name) + 1 if item.name in _LAST else 0


def position(row: Place) -> tuple[int, int, int]:
    """Where in the run a row belongs, as a sortable (round, stage, step)."""
    return (sys.maxsize if row.stage == "final" else row.round, STAGES.index(row.stage), row.step)


def _free(config: Config) -> list[str]:
    """What may differ on resume: less where several checkpoints decide the model, and questions that choose of them."""
    training, left = config.training, ["prompt.examples"] if config.prompt.examples == "auto" else []  # see `as_begun`
    if not training.best and training.average.checkpoints == 1:
        return [*FREE_ON_RESUME, *left]
    free = [key for key in FREE_ON_RESUME if key not in (*_SPACING, "evaluation")] + left
    asking = ("also", "max_completion_length") if training.best else ()
    return free + [f"evaluation.{key}" for key in type(config.evaluation).model_fields if key not in asking]


def _differences(old: BaseModel, new: BaseModel, free: Sequence[str], prefix: str = "") -> list[str]:
    """Dotted keys in which two configurations differ, without those that are free on resume."""
    keys = []
    for name in type(new).model_fields:
        key, before, after = prefix + name, getattr(old, name), getattr(new, name)
        if key in free or before == after:
            continue
        keys += _differences(before, after, free, f"{key}.") if isinstance(after, BaseModel) else [key]
    return keys


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _origin(name: str, config: Config) -> Meta:
    """What meta.json says of how its numbers came about."""
    return Meta(
        name=name,
        seed=config.run.seed,
        versions=versions(),
        machine=machine(),
        command=" ".join(["realm", *sys.argv[1:]]),
        launch=launched(),
    )


class RunFolder:
    """One run on disk. Make it with `create` (a new or resumed run) or `RunFolder(path)` (to read a finished one).

    One that was made with `create`, or on which `hold` was called, keeps other processes from writing there as long as
    the object lives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hold: Hold | None = None

    def hold(self) -> None:
        """Keep other processes from writing here; the folder is made where it is missing.

        Raises:
            ResourceError: another process does (see `realm.locks.hold`), or the disk refuses.
        """
        self._hold = hold(self.path)

    @property
    def begun(self) -> bool:
        """Whether a run, of whatever state, is here."""
        return (self.path / "meta.json").is_file()

    @classmethod
    def create(
        cls,
        config: Config,
        *,
        template_hash: str = "",
        questions_hash: str | None = None,
        overwrite: bool = False,
        resume: bool = False,
        there: bool | None = None,
    ) -> RunFolder:
        """Make `config.run_path` and write `config.yaml` and `meta.json`, or go on with it where `resume` is set.

        Call it last, when configuration, task, bank and model have been found good, so that a mistake leaves nothing.
        The folder is this process's own from here on (see `hold`).

        Args:
            template_hash: hash of the prompt's wording and tags, kept in meta.json.
            questions_hash: hash of the task's questions, kept there too; a run goes on with the same ones only.
            overwrite: a run of this name is deleted, all but its banks (`KEPT`).
            resume: a run of this name is continued; its configuration must be the same in all that decides the result.
                Where there is none it is started, so that one command serves a job that is queued again and again.
            there: what `check_resume` said when the caller prepared for it.

        Raises:
            ResourceError: the name is used (on resume: by what is no run), another process works there or has begun
                the run since, or the disk refuses.
            ConfigError: the name is no folder name, or configuration or questions differ from those to be resumed.
        """
        name, path = config.run.name, config.run_path
        if name != Path(name).name or name in ("", ".", ".."):
            raise ConfigError(f"run.name: expected the name of one folder below run.dir, found {name!r}.")
        run = cls(path)
        if not (resume and run.check_resume(config)):
            run._refuse(overwrite)
        fresh = not path.exists()
        try:
            run.hold()
        except ResourceError:
            with suppress(OSError):
                if fresh:
                    path.rmdir()  # stays where another process has begun there
            raise
        # Only now nobody else changes what is found.
        going_on = resume and run.check_resume(config)
        if there is not None and going_on != there:
            raise ResourceError(f"{path}: another process has changed this run meanwhile; give the command once more.")
        if going_on:
            run.check_questions(questions_hash)
            run._resume(config)
            return run
        if run._refuse(overwrite):
            run._clear()
        try:
            # meta.json goes first: killed between the two, there is a run to resume.
            run.write_meta(
                replace(
                    _origin(name, config),
                    recipe=config.training.recipe,
                    template_hash=template_hash,
                    questions_hash=questions_hash,
                    started=_now(),
                    resumed=(),
                    status="running",
                )
            )
            run._write_config(config)
        except ResourceError:
            # Nothing half-written: it would block its name.
            with suppress(OSError):
                (path / "meta.json").unlink(missing_ok=True)
            assert run._hold is not None
            run._hold.release()
            with suppress(OSError):
                if fresh:
                    path.rmdir()
            raise
        return run

    def _refuse(self, overwrite: bool) -> bool:
        """Whether something is here that has to be cleared away first.

        Raises:
            ResourceError: it has to stay.
        """
        with writing(self.path):
            if not self._used():
                return False
        if not self.begun:
            raise ResourceError(
                f"{self.path}: this run name is already used by what is not a run folder (no meta.json) and is never "
                "overwritten. Choose another run.name or --out, or move it away."
            )
        if not (overwrite or self._half_deleted()):
            raise ResourceError(
                f"{self.path}: this run name is already used. Choose another run.name or --out, or give --overwrite "
                "(or --resume, where the command has it)."
            )
        return True

    def _clear(self) -> None:
        # Noted first: killed from here on, no resume takes what is left for a run (half a model is a folder, too).
        self.write_meta(Meta(name=self.path.name, status="overwritten"))
        with writing(self.path):
            # meta.json goes last, so that a deletion that was cut short can be repeated.
            for item in sorted(self._replaceable(self.path), key=_deletion):
                if item.is_dir() and not item.is_symlink():
                    shutil.rmtree(item)
                else:
                    item.unlink()

    def _used(self) -> bool:
        """Whether something is here but banks; a hidden file is a write that was cut short by a kill."""
        if not self.path.is_dir():
            return self.path.exists()
        return any(item.name[0] != "." for item in self._replaceable(self.path))

    def _half_deleted(self) -> bool:
        """Whether a deletion of the run here was cut short."""
        with suppress(DataError):
            return self.meta.status == "overwritten"
        return False

    def _replaceable(self, folder: Path) -> Iterator[Path]:
        """What is in a folder of the run but for what is kept: files, links and whole folders."""
        # `realm collect --overwrite` puts a bank aside beside the new one.
        kept = [path for name in KEPT for path in (self.path / name, *self.path.glob(f"{name}.old-*")) if path.exists()]
        for item in folder.iterdir():
            if not item.is_symlink() and any(item in path.parents for path in kept):
                yield from self._replaceable(item)
            elif item not in kept and item != self.path / LOCK:
                yield item

    def check_resume(self, config: Config) -> bool:
        """Whether there is a run here to be continued with `config`; False: it is still to be started.

        Nothing is written.

        Raises:
            ResourceError: there is no run here, but something else.
            ConfigError: its configuration differs in what decides the result.
        """
        if not self.begun:
            if self._used():
                raise ResourceError(
                    f"{self.path}: no run to resume here (no meta.json), and what is here is never overwritten. "
                    "Choose another run.name or --out, or move it away."
                )
            return False
        if self._half_deleted():
            return False
        if not (self.path / "config.yaml").is_file():
            return True  # killed before it was written
        if keys := _differences(load_config(self.path / "config.yaml"), config, _free(config)):
            raise ConfigError(self._otherwise(keys, config))
        return True

    def check_questions(self, questions_hash: str | None) -> None:
        """Raise `ConfigError` where the run was begun with other questions than those of this hash."""
        if questions_hash and (self.meta.questions_hash or questions_hash) != questions_hash:
            raise ConfigError(
                f"{self.path}: the run was begun with other questions, what task.path names has changed since. Put the "
                "old content back (of a data set of the Hub: name its @REVISION), or start a new run.name."
            )

    def as_begun(self, config: Config) -> Config:
        """The configuration with the examples of the run that is to be gone on with, where they are left to us."""
        file = self.path / "config.yaml"
        if config.prompt.examples != "auto" or not file.is_file():
            return config
        begun = load_config(file).prompt.examples
        return config.model_copy(update={"prompt": config.prompt.model_copy(update={"examples": begun})})

    def _otherwise(self, keys: Sequence[str], config: Config) -> str:
        """What to do where a run was to be gone on with in another way than it began."""
        number = 2
        while (new := self.path.with_name(f"{self.path.name}-{number}")).exists():
            number += 1
        bank = self.path / "bank"
        place = f"--out {new}" + (f" --set bank.path={bank}" if not config.bank.path and bank.is_dir() else "")
        how = f"to start anew with it, give {place} in the place of --resume"
        if (self.path / "model").is_dir() and "training.rl.steps" in keys:
            # The fade and the rate of learning follow from all steps: they cannot be more behind the last one.
            how += (
                f"; to train the finished model further, {place} --model {self.path / 'model'} with steps and a fade "
                "of their own (docs/howto/train-further.md)"
            )
        return (
            f"{self.path}: the run was begun with another {', '.join(keys)}. To go on as it began: "
            f"realm train {self.path} --resume; {how}."
        )

    def _resume(self, config: Config) -> None:
        meta = self.meta
        resumed = (*(meta.resumed or ()), _now())
        meta = replace(meta, name=self.path.name, resumed=resumed, finished=None, status="running", reason=None)
        meta = replace(meta, launch=launched())
        with writing(self.path):
            for torn in self.path.glob(".*.tmp"):  # of a write that a kill cut short; `publish` clears its own folder
                if torn.is_file():
                    torn.unlink()
            for old in self.path.glob(_FAILURE.format("*")):
                old.unlink()
        self._write_config(config)
        self.write_meta(meta)

    def record_evaluation(self, config: Config, status: Literal["running", "done"] = "done") -> None:
        """Note beside the results of an evaluation what they rest on: config.yaml, and a small meta.json.

        Args:
            config: its `model.path` is the model that was evaluated.
            status: `running` where more of it is to come.

        Raises:
            ResourceError: the disk refuses.
        """
        self._write_config(config)
        evaluated = _origin(self.path.name, config)
        finished = _now() if status == "done" else None
        self.write_meta(replace(evaluated, evaluated=config.model.path, finished=finished, status=status))

    def _write_config(self, config: Config) -> None:
        write_atomic(self.path / "config.yaml", dump_config(config))

    def write_meta(self, meta: Meta) -> None:
        """Replace meta.json."""
        write_atomic(self.path / Meta.FILE, json.dumps(record(meta), indent=1, ensure_ascii=False) + "\n")

    @property
    def meta(self) -> Meta:
        """The content of meta.json.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        meta = read_row(self.path, Meta)
        if meta is None:
            raise DataError(f"{self.path / Meta.FILE}: expected the run's meta.json, found nothing there.")
        return meta

    def finish(self, status: Literal["done", "failed", "interrupted"] = "done", reason: str = "") -> None:
        """Note in meta.json that the run ended, how, and why.

        Where another process had failed before, the end of this one is but what followed from that: the run failed,
        for the reason that the other one noted.
        """
        elsewhere = "" if status == "done" else self.failure_elsewhere()
        if elsewhere:
            status, reason = "failed", elsewhere
        meta = self.meta
        self.write_meta(replace(meta, finished=_now(), status=status, reason=reason or meta.reason))

    def note_failure(self, number: int, reason: str) -> None:
        """Note why process `number`, not the main one, failed: in a file of its own, removed when the run goes on."""
        row = {"time": time.time(), "reason": reason}
        write_atomic(self.path / _FAILURE.format(number), json.dumps(row, ensure_ascii=False) + "\n")

    def failure_elsewhere(self) -> str:
        """Which process but the main one failed first, and why; empty where none noted a failure."""
        found = []
        for path in self.path.glob(_FAILURE.format("*")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                row = json.loads(path.read_text(encoding="utf-8"))
                found.append((float(row["time"]), f"process {path.stem.partition('-')[2]}: {row['reason']}"))
        return min(found)[1] if found else ""

    def append(self, *rows: Row) -> None:
        """Append rows of one kind to its file (see `append_jsonl`). Only the main process of a run may call it."""
        append_jsonl(self.path / rows[0].FILE, *map(record, rows))

    def read(self, kind: type[R]) -> list[R]:
        """All rows of a kind (see `read_rows`); none where the file was never written."""
        return list(read_rows(self.path, kind))

    def places(self, kind: type[Place]) -> list[tuple[str, Place]]:
        """The lines of the file of a kind, as they are, each with its place; of the rest of a row nothing is asked.

        Raises:
            DataError: see `read_rows`.
        """
        return list(read_places(self.path / kind.FILE))

    def keep(self, kind: type[Place], wanted: Callable[[Place], bool], more: Iterable[Place] = ()) -> None:
        """Rewrite the file of a kind atomically with the rows that are `wanted`, and `more` after them.

        Nothing happens where the file is missing and there is nothing more.
        """
        path = self.path / kind.FILE
        lines = [line for line, place in self.places(kind) if wanted(place)]
        lines += [to_line(record(row)) for row in more]
        if lines or path.exists():
            write_atomic(path, "".join(lines))

    def rewind(self, stage: Stage, round_: int, step: int) -> None:
        """Cut off the rows beyond a checkpoint, which the resumed run is going to write again.

        Args:
            stage, round_, step: the checkpoint; its own rows stay.
        """
        limit = position(Place(stage=stage, round=round_, step=step))
        for kind in (Step, Sampled, Evaluation):
            self.keep(kind, lambda row: position(row) <= limit)
