"""Collecting CoTs into a bank: N samples of every question, guided with probability ρ, judged, kept with provenance."""

import asyncio
import copy
import resource
from collections import defaultdict
from collections.abc import Callable, Container, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from realm.bank.cot import comment_hash, digest
from realm.bank.folder import BankFolder
from realm.bank.labelling import fold, half_judged
from realm.bank.writer import BankWriter
from realm.config import Config
from realm.errors import ConfigError, DataError
from realm.method.seeds import derive
from realm.sections import GuidanceConfig, TeacherConfig
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool
from realm.teacher.batches import FILE, BatchTeacher
from realm.teacher.endpoint import EndpointTeacher
from realm.teacher.engine import Engine, Watch
from realm.teacher.guidance import Guidance
from realm.teacher.labelling import Judge, unjudged
from realm.teacher.lanes import Lane, Tally
from realm.teacher.ledger import Ledger
from realm.teacher.pacing import FIRST, Pace
from realm.teacher.plan import Estimate, Plan, Source, survey
from realm.teacher.prompts import PROMPT, QUESTION_FIRST, refuse_gold
from realm.teacher.registry import make_guidance, make_sources

#: Retries that may wait, for each request that may be under way.
SLEEPERS = 4
#: Files beside the connections that a collection may have open.
OTHER_FILES = 64

Announce = Callable[[list[Estimate]], None]


def bank_info(config: Config, task: Task, guidance: Guidance | None = None) -> dict[str, Any]:
    """What the CoTs of a bank are collected with, for its `bank.json`; nothing secret.

    `guidance`: as `make_guidance` reads it, where it was read before.
    """
    asked = {name: teacher for name, teacher in config.teachers.items() if teacher.share}
    guidance = guidance or make_guidance(config, task)
    comments = sorted([comment_hash(comment), *comment.tags] for comment in guidance.comments)
    return {
        "task": task.name,
        "verifier": task.verifier.name,
        "choices": list(config.task.choices),
        "teachers": {name: _settings(teacher) for name, teacher in asked.items()},
        "guidance": {**_guidance(config.guidance), "hash": digest(comments)},
        "samples": config.bank.samples,
        "seed": config.run.seed,
    }


def _guidance(guidance: GuidanceConfig) -> dict[str, Any]:
    # `floor` where it is read and above 0 alone: banks from before it can be gone on with.
    read = guidance.match == "retrieval" and guidance.floor
    return guidance.model_dump(mode="json", exclude={"comments"} | (set() if read else {"floor"}))


def _settings(teacher: TeacherConfig) -> dict[str, Any]:
    # `shows` where it is not the default alone: banks from before it can be gone on with.
    aside = {"price", "batch", "batch_samples"} | ({"shows"} if teacher.shows == "both" else set())
    found = teacher.model_dump(mode="json", exclude=aside)
    # The prompt in its words, so that the bank is gone on with in them; none are those of banks that did not name it.
    if teacher.kind != "scripted":
        found["prompt"] = {None: PROMPT, QUESTION_FIRST: None}.get(teacher.prompt, teacher.prompt)
    return found


def worded_as(config: Config, path: Path) -> Config:
    """The configuration with the prompts of the bank in a folder, for teachers that have none of their own.

    What our prompt says may change; what a bank holds is not asked, and paid, again for it.
    """
    try:
        there = BankFolder.open(path).info["teachers"]
        found = {name: there[name]["prompt"] or QUESTION_FIRST for name in config.teachers if name in there}
    except (DataError, KeyError, TypeError):
        return config
    teachers = {
        name: teacher.model_copy(update={"prompt": found[name]})
        if name in found and teacher.prompt is None and teacher.kind != "scripted"
        else teacher
        for name, teacher in config.teachers.items()
    }
    return config.model_copy(update={"teachers": teachers})


def check_same(folder: BankFolder, info: Mapping[str, Any]) -> None:
    """Make sure that a bank was collected with these settings; more samples are welcome.

    Raises:
        ConfigError: names what differs; or its labels are those of two verifiers.
    """
    if mixed := half_judged(folder.info):
        raise ConfigError(f"{folder.path}: {mixed}.")
    other = _differences(folder.info, dict(info))
    if other:
        other[0] = f"{'other' if other[0] in ('teachers', 'choices') else 'another'} {other[0]}"
        raise ConfigError(
            f"{folder.path}: this bank was collected with {', '.join(other)}; "
            "go on with the same settings, or collect into another --out."
        )


#: What may change without changing what a sample is.
_WELCOME = frozenset({"samples", "api_key_env", "base_url", "batch_size"})


def _differences(there: Any, wanted: Any, prefix: str = "") -> list[str]:
    """Dotted names of what is not the same; of what is missing on one side too."""
    if not (isinstance(there, dict) and isinstance(wanted, dict)):
        return [] if there == wanted else [prefix]
    names = wanted if not prefix else wanted | there
    found = []
    for name in names:
        path = f"{prefix}.{name}" if prefix else name
        if name not in _WELCOME:
            found += _differences(there.get(name), wanted.get(name), path)
    return found


def make_plan(config: Config, task: Task, *, keyless: bool = False) -> Plan:
    """Every sample that the configuration asks for.

    Args:
        keyless: do without the keys of endpoints: to see what would be sent, never to ask.

    Raises:
        ConfigError: a split that the task does not have, a teacher that does not know the task, and the like.
        DataError: a file of comments that cannot be used.
        TeacherError: a teacher without its key or its model.
    """
    unknown = [split for split in config.collect.splits if split not in task.splits()]
    if unknown:
        raise ConfigError(f"collect.splits: expected some of {', '.join(task.splits())}, found {unknown[0]!r}.")
    splits = config.collect.splits or task.splits()
    if held_out := [split for split in splits if split != "train"]:
        refuse_gold(config.teachers, f"{', '.join(held_out)}, which are held out; set collect.splits to [train]")
    guidance = make_guidance(config, task)
    questions = [question for split in splits for question in task.rows(split)]
    sources = make_sources(config, task, guidance, keyless=keyless)
    return Plan(sources, guidance, questions, config.bank.samples, config.run.seed)


@dataclass
class Held:
    """What a bank holds already. `means`: completion tokens of an average CoT, by teacher; `stale`: ids to ask anew."""

    ids: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    means: dict[str, float] = field(default_factory=dict)
    unjudged: bool = False


def look(folder: BankFolder | None, again: Container[str] = ()) -> Held:
    """Read a bank once; None is a bank that is not there yet. `again`: problems of CoTs that are asked for anew."""
    held = Held()
    if folder is None:
        return held
    judged = set(folder.labels())
    tokens: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for cot in folder.scan():
        held.ids.add(cot.id)
        if cot.problem and cot.problem in again:
            held.stale.add(cot.id)
        held.unjudged = held.unjudged or (unjudged(cot) and cot.id not in judged)
        if cot.completion_tokens is not None:
            tokens[cot.teacher][0] += 1
            tokens[cot.teacher][1] += cot.completion_tokens
    held.means = {name: total / count for name, (count, total) in tokens.items()}
    return held


def costly(path: Path) -> bool:
    """Whether the bank in a folder holds anything but what the scripted teacher gave, which costs nothing."""
    try:
        folder = BankFolder.open(path)
        teachers = folder.info.get("teachers")
        kinds = {name: teacher.get("kind") for name, teacher in teachers.items()} if teachers else {}
        return any(kinds.get(cot.teacher) != "scripted" for cot in folder.scan())
    except (DataError, AttributeError):
        return True  # nobody knows what it is


def collect(
    config: Config,
    task: Task,
    folder: BankFolder,
    pool: VerifierPool,
    *,
    plan: Plan | None = None,
    again: Container[str] = (),
    announce: Announce | None = None,
    watch: Watch | None = None,
    pause: float = FIRST,
) -> Tally:
    """Ask the teachers for what the bank still owes: `bank.samples` CoTs of every question that is asked about.

    What is in the bank is not asked for again, so that a stopped collection goes on where it was. No other process may
    write to the bank meanwhile.

    Args:
        plan: that of the configuration, where it was made before.
        again: problems (`realm.bank.cot.PROBLEMS`); for a CoT that has one, another is asked for. It stays beside it.
        announce: is told what is owed before the first request.
        watch: is shown how far it is, every half second.
        pause: seconds of the first backoff after a failure.

    Returns:
        The tally; `Tally.left` samples are still owed: given up, or beyond the budget.

    Raises:
        ConfigError, TeacherError: see `make_plan`; a teacher that cannot be asked. What it gave before is kept.
        ConfigError: more requests at a time than this process may open files.
        ResourceError: the bank cannot be written, or another process writes to it.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after what had arrived was written.
    """
    plan = copy.copy(plan or make_plan(config, task))
    questions = {question.id: question for question in plan.questions}
    with ExitStack() as stack:
        stack.enter_context(folder.lock())
        if any(source.teacher.concurrent for source in plan.sources):
            reserve_files(config.collect.concurrency)
        _prepare(folder, plan, list(questions.values()))
        held = look(folder, again)
        ledger = stack.enter_context(open_ledger(folder.path, config, plan))
        plan.sources = [_filing(source, folder.path, ledger, pause) for source in plan.sources]
        writer = stack.enter_context(folder.writer())
        estimates = survey(plan, held.ids, held.means, held.stale)
        owed = sum(estimate.samples for estimate in estimates)
        tally = Tally(plan.size - owed, owed, spent=ledger.spent, currency=ledger.currency)
        if announce is not None:
            announce(estimates)
        engine = Engine(
            plan,
            [_lane(config, plan, source, held, pause) for source in plan.sources],
            concurrency=config.collect.concurrency,
            retries=config.collect.retries,
            patience=config.collect.timeout,
            writer=writer,
            ledger=ledger,
            judge=Judge(folder, writer, pool, questions, held.unjudged),
            tally=tally,
            watch=watch,
        )
        _run(engine.run(partial(_finish, folder, writer)))
    return tally


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; where a loop runs already, as in a notebook, in a thread with a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def open_ledger(path: Path, config: Config, plan: Plan) -> Ledger:
    """The ledger of the bank in a folder, read.

    Raises:
        ConfigError, DataError: see `Ledger`.
    """
    currency = next(filter(None, (source.currency for source in plan.sources)), "")
    prices = {source.name: source.cost for source in plan.sources}
    return Ledger(path / "ledger.jsonl", config.collect.budget, currency, prices)


def reserve_files(concurrency: int) -> None:
    """Let this process open a connection for every request, beside its other files.

    Raises:
        ConfigError: the machine does not allow that many.
    """
    wanted = concurrency + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ConfigError(
            f"collect.concurrency {concurrency} needs {wanted} open files, and this process may have {hard}; "
            "lower collect.concurrency or raise the limit (ulimit -Hn)."
        )
    # Twice as many where that may be: connections are kept a while after their request.
    most = 2 * wanted if hard == resource.RLIM_INFINITY else min(2 * wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _prepare(folder: BankFolder, plan: Plan, questions: list[Question]) -> None:
    """Put into the bank what its CoTs will refer to."""
    try:
        folder.add_questions(questions)
    except ValueError as error:
        raise DataError(f"{folder.path}: {error}.") from error
    folder.add_comments(plan.guidance.comments)
    if plan.samples > int(folder.info.get("samples", 0)):
        folder.update({"samples": plan.samples})


def _filing(source: Source, path: Path, ledger: Ledger, pause: float) -> Source:
    """The teacher as it is asked: by batch files, where its settings say so.

    Raises:
        ConfigError: files are under way at the endpoint, and it is to be asked at once now.
    """
    window, batch = source.settings.batch, source.settings.batch_samples
    if window and isinstance(source.teacher, EndpointTeacher):
        return replace(source, teacher=BatchTeacher(source.teacher, window, batch, path / FILE, ledger.left, pause))
    left = sum(sent.teacher == source.name for _, sent in ledger.left.values())
    if left and (path / FILE).exists():
        raise ConfigError(
            f"teachers.{source.name}.batch: {left} samples are under way in batch files and paid for; go on with "
            f"the window that was set, or remove {path / FILE} to ask and pay for them anew."
        )
    return source


def _lane(config: Config, plan: Plan, source: Source, held: Held, pause: float) -> Lane:
    concurrency = config.collect.concurrency
    pace = Pace(concurrency, config.collect.give_up_after, derive(config.run.seed, "pace", source.name), pause)
    return Lane(source, plan.jobs(source, held.ids, held.stale), pace, SLEEPERS * concurrency)


def _finish(folder: BankFolder, writer: BankWriter) -> None:
    """Every answer is judged: the labels go into the rows."""
    writer.close()
    fold(folder)
    folder.write_card()
