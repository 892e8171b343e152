"""The card of a trained model: `<run>/model/README.md` in the Hub's format, and the prompt that it names for programs.

Names in it are of files and banks that others wrote: they stand in code spans, where Markdown reads nothing, and in
YAML as scalars. No question, no path and no setting of an endpoint is in it, so that it can be published as it is.
"""

import json
import re
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from huggingface_hub import EvalResult, ModelCardData, metadata_load
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field, ValidationError, field_validator

from realm.bank.folder import BankFolder
from realm.config import Config, needs_bank
from realm.display import printable, printable_lines
from realm.errors import DataError
from realm.evaluation.evaluate import completion_limit
from realm.files import write_atomic
from realm.method.prompt import Message, Tags, Wording, messages, plain, target
from realm.pages.table import Table, TableRow, Value
from realm.recipes import plan
from realm.recipes.stage import Stage
from realm.rows.evaluation import Evaluation
from realm.rows.run import BankStats, Meta
from realm.run import KEPT
from realm.run_rows import read_row, read_rows
from realm.sections import PACKAGED_BASE, ModelSettings, PromptConfig, Section, asks_teachers
from realm.student.load import is_hub_name, load_tokenizer, resolve
from realm.student.prompts import make_wording, presented, settled
from realm.tasks.base import Task
from realm.tasks.hub import HUB
from realm.tasks.verify import choices_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: File of the card, and the key of its front matter below which the prompt is.
CARD, KEY = "README.md", "realm"
UNKNOWN = "not known"
LICENSE_ID = re.compile(r"[a-z0-9][a-z0-9.\-]{0,40}")
_QUESTION = "{question}"


class Surface(Section):
    """How a trained model is asked without routes, and how its answers are compared: `realm` in the card's head.

    `user` is the user message with {question} in it. Nothing in it says where a file of this machine is.
    """

    task: str = ""
    system: str = ""
    user: str
    verifier: str = "exact"
    choices: list[str] = Field([])
    max_tokens: int = Field(512, ge=1)
    prompt: PromptConfig = PromptConfig()
    model: ModelSettings = ModelSettings()

    @field_validator("user")
    @classmethod
    def _asks(cls, user: str) -> str:
        if _QUESTION not in user:
            raise ValueError("expected {question} in it")
        return user

    def wording(self) -> Wording:
        """The wording that gives these messages; it knows no routes."""
        return Wording(self.system, self.user, route="", with_routes="", without_routes="")


def surface(config: Config, task: Task, tokenizer: "PreTrainedTokenizerBase", limit: int | None = None) -> Surface:
    """The surface of a run's student."""
    config = settled(config, task, tokenizer, limit)
    wording = replace(make_wording(config, task, tokenizer), examples=())
    *system, user = messages(_QUESTION, (), wording, config.prompt.tags())
    return Surface(
        task=task.name,
        system=system[0]["content"] if system else "",
        user=user["content"],
        verifier=task.verifier.name,
        choices=choices_of(task.verifier.name, config.task.choices),
        max_tokens=completion_limit(config),
        prompt=config.prompt.model_copy(update={"system": None}),
        model=config.model.model_copy(update={"path": ""}),
    )


def _with_place(wording: Wording, tags: Tags) -> tuple[str, list[Message]]:
    """The conversation without routes with a place for the question, and what stands there: `{question}`, or another
    name where a text of the conversation, such as an example, has that itself."""
    place, texts = _QUESTION, "\n".join(one["content"] for one in messages("", (), wording, tags))
    while place in texts:
        place = f"{{the {place[1:]}"
    return place, messages(place, (), wording, tags)


def read_surface(folder: Path) -> Surface | None:
    """What the card in a model directory says; None where there is none, or it says nothing of it.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / CARD
    head = _head(path)
    if KEY not in head:
        return None
    if isinstance(head[KEY], dict) and isinstance(prompt := head[KEY].setdefault("prompt", {}), dict):
        prompt.setdefault("examples", "none")  # a card of before there were any
    try:
        return Surface.model_validate(head[KEY])
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = ".".join(map(str, (KEY, *found["loc"])))
        raise DataError(f"{path}: {where}: {found['msg']}; mend that section or remove it.") from error


def _head(path: Path) -> dict[str, Any]:
    """The front matter of a README.md; empty where there is none, or none that can be read."""
    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        found = metadata_load(path)
        return found if isinstance(found, dict) else {}
    return {}


def license_of(model: str | None) -> str:
    """The licence that a model directory states, by the Hub's name for it where its README.md has one.

    `not known` where it states none, and of what is no directory of this machine: nothing is asked of a hub.
    """
    if not model:
        return UNKNOWN
    with suppress(Exception):  # whatever is wrong with the model is told elsewhere
        folder = Path(resolve(model))
        head = _head(folder / CARD)
        for name in (head.get("license"), head.get("license_name")):
            if isinstance(name, str) and name != "other" and LICENSE_ID.fullmatch(name.lower()):
                return name.lower()
        for file in (folder / "LICENSE", folder / "LICENSE.txt", folder / "LICENSE.md"):
            if file.is_file():
                with file.open(encoding="utf-8", errors="replace") as lines:
                    return f"{code(next(line for line in lines if line.strip()).strip())} ({file.name})"
    return UNKNOWN


def write_card(run: Path, config: Config, task: Task, folder: Path | None = None) -> Path:
    """Write the card of a run's model from the files of the run.

    Args:
        task: gives the prompt, and how many questions each split has.
        folder: where it is written; None: `<run>/model`.

    Raises:
        DataError: a file of the run cannot be read.
        ResourceError: the disk refuses.
    """
    path = (folder or run / "model") / CARD
    write_atomic(path, card(run, config, task))
    return path


def outdated(run: Path, config: Config, task: Task) -> bool:
    """Whether the card beside a run's model tells other figures, or another length of answers, than the run's files.

    Errors as of `write_card`.
    """
    there, text = _head(run / "model" / CARD), card(run, config, task)
    now = yaml.safe_load(text.removeprefix("---\n").partition("\n---\n")[0])
    asked, same = there.get(KEY), there.get("model-index") == now.get("model-index")
    return KEY in there and not (same and isinstance(asked, dict) and asked.get("max_tokens") == now[KEY]["max_tokens"])


def card(run: Path, config: Config, task: Task, file: str = "") -> str:
    """The text of the card; of a folder that holds `file`, the model in GGUF, where that is given."""
    tokenizer, template, stages = load_tokenizer(run / "model", config.model), _template(run / "model"), plan(config)
    asked = surface(config, task, tokenizer)
    place, sent = _with_place(make_wording(config, task, tokenizer), config.prompt.tags())
    rows = [row for row in read_rows(run, Evaluation) if row.stage in ("base", "final")]
    stats, meta = read_row(run, BankStats), read_row(run, Meta)
    base, licence = config.model.path, license_of(config.model.path)
    read = (re.match(rf"{HUB}([\w.-]+/[\w.-]+)", path or "") for path in (config.task.path, config.task.test_path))
    data = ModelCardData(
        datasets=sorted({found[1] for found in read if found and not Path(found[1]).exists()}) or None,
        base_model=base if is_hub_name(base) else None,
        license=licence if LICENSE_ID.fullmatch(licence) else None,
        library_name="gguf" if file else "transformers",
        pipeline_tag="text-generation",
        tags=["realm", "reasoning", *sorted({stage.kind for stage in stages})],
        model_name=printable(config.run.name, 80),
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=printable(task.name, 80),
                dataset_name=printable(task.name, 80),
                dataset_split=printable(row.split, 80),
                metric_type="accuracy",
                metric_name=f"accuracy, 95 % interval {row.accuracy_low:.4f} to {row.accuracy_high:.4f}",
                metric_value=round(row.accuracy, 4),
            )
            for row in rows
            if row.stage == "final" and not row.routes and row.before is None  # another task has one
        ],
    )
    data[KEY] = asked.model_dump()
    shown = presented(tokenizer, sent)
    request: dict[str, Any] = {"messages": shown} if template else {"prompt": plain(shown)}
    request |= {"temperature": 0, "max_tokens": asked.max_tokens}
    if asked.model.template_arguments:
        request["chat_template_kwargs"] = asked.model.template_arguments
    learned = stats is not None and any(needs_bank(config, stage) for stage in stages)
    # What is filled in is escaped by `code`, `block` and `literal`: a card is Markdown, not HTML.
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True)
    pages.filters |= {"code": code, "block": _block, "literal": ascii}
    text = pages.get_template("card.md").render(
        head=data.to_yaml(),
        config=config,
        task=task,
        asked=asked,
        sent=shown,
        place=place,
        file=file,
        request=json.dumps(request, indent=1),
        template=template,
        version=f" {meta.versions.get('realm-slm', '')}".partition(" (")[0].rstrip() if meta else "",
        base=base if base == PACKAGED_BASE or is_hub_name(base) else Path(base).name,
        licence=licence,
        chosen=meta.chosen if meta else None,
        stages=", ".join(f"{stage.kind.upper()} {stage.steps}" for stage in stages),
        teachers=_teachers(stats if learned else None, _asked(run, config, stages), config),
        figures="\n".join(_figures(rows).to_markdown()),
        form=target("its reasoning", "its answer", None, asked.prompt.tags()),
    )
    return f"{text}\n"


def _asked(run: Path, config: Config, stages: Sequence[Stage]) -> set[str]:
    """The teachers of a run that its steps asked while it was trained; their replies lie below the run's folder."""
    steps = [one for stage in stages for one in stage.traces or (config.training.sft.traces * (stage.kind == "sft"))]
    found = set[str]()
    for folder in KEPT[1:] if asks_teachers(steps) else ():
        with suppress(DataError):  # nobody was asked from there, or it was taken away
            found |= {cot.teacher for cot in BankFolder.open(run / folder).scan()}
    return found & {name for name, teacher in config.teachers.items() if teacher.share}


def _teachers(stats: BankStats | None, asked: Set[str], config: Config) -> list[tuple[str, str, str, str]]:
    """Name, model, what it gave and licence of each teacher of a bank, and of those that were `asked` besides."""
    found = []
    wrote = {name: f"{one.cots} CoTs" for name, one in stats.by_teacher.items()} if stats else {}
    for name in sorted(wrote.keys() | asked):
        teacher = config.teachers.get(name)
        model = (teacher.model if teacher else None) or ""
        local = teacher is not None and teacher.kind == "transformers"
        gave = ", ".join(filter(None, (wrote.get(name), "asked while this model was trained" * (name in asked))))
        found.append((name, Path(model).name, gave, license_of(model if local else None)))
    return found


def _figures(rows: Sequence[Evaluation]) -> Table:
    """Accuracies of the base on validation questions, where it was asked, and of the trained model."""
    found: list[TableRow] = []
    for row in rows:
        accuracy = Value(row.accuracy, row.accuracy_low, row.accuracy_high)
        name = "base" if row.stage == "base" else "this model"
        if row.routes_dropped and not row.routes_per_prompt:
            continue  # no route had room, so that nothing was measured with them
        routes = f"{row.routes_per_prompt:.2g} of {row.routes}" if row.fewer_routes else str(row.routes)
        cells = [code(row.split), routes, str(row.n)]
        if row.before is not None and row.change is not None:
            if row.edited is None:
                found.append((None, "base", [*cells, Value(row.before)]))
            against = "the base" if row.edited is None else "the same questions unedited"
            change = Value(row.change, row.change_low, row.change_high, signed=True).markdown
            accuracy = replace(accuracy, after=f"; {change} against {against}")
        found.append((None, name, [*cells, accuracy]))
    return Table(["model", "split", "routes", "questions", "accuracy"], [("", found)])


def _template(folder: Path) -> str:
    """The text in which the chat template of a model stands; empty where it has none."""
    for file, mark in (("chat_template.jinja", ""), ("tokenizer_config.json", '"chat_template"')):
        with suppress(OSError):
            text = (folder / file).read_text(encoding="utf-8", errors="replace")
            if mark in text:
                return text
    return ""


def code(text: str) -> str:
    """A name as a code span: nothing in it is read as Markdown or HTML."""
    return f"`{printable(text, 80).replace('`', chr(0x2019)).strip() or ' '}`"


def _block(text: str) -> str:
    """A text as a code block that it cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{printable_lines(text)}\n{fence}"
