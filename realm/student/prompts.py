"""Prompts as the model reads them, and the prompts of an evaluation: always the same routes, fitted to the context."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import inspect
import re
import string
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2

from realm.config import Config
from realm.display import printable
from realm.errors import ConfigError, ModelError
from realm.method.prompt import (
    DEFAULT_WORDING,
    EXAMPLES,
    Example,
    Message,
    PromptTooLongError,
    Tags,
    Wording,
    fit,
    messages,
    plain,
)
from realm.method.routes import NOTHING, STRATEGIES, Draw, Route, Selection, draw
from realm.method.schedule import ALWAYS, SCHEDULES, Schedule
from realm.plugins import outside, take
from realm.sections import ModelSettings
from realm.tasks.base import Question, Task, as_utf8

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: The step of every evaluation's draw: no training step has it, and all models compared see the same routes.
STEP = -1
#: Attribute of a tokenizer: what its chat template is filled with besides the conversation.
_ARGUMENTS = "realm_template_arguments"


def make_wording(config: Config, task: Task, tokenizer: PreTrainedTokenizerBase, limit: int | None = None) -> Wording:
    """The task's wording, with what the configuration has of its own: system message, examples, no judging.

    Args:
        limit: tokens that a prompt may have: examples that nobody asked for take half of them at most.
    """
    harmless = plain_text(tokenizer)
    shown = [Example(*map(harmless, dataclasses.astuple(one))) for one in _examples(config, task.wording, tokenizer)]
    wording = dataclasses.replace(task.wording, examples=tuple(shown))
    told = f"{wording.system} {wording.question} {wording.without_routes}".replace("{answer}", config.prompt.answer_tag)
    if shown and f"<{config.prompt.answer_tag}>" not in told:  # worded for a student that knows the form
        names = ("with_routes", "without_routes", "synthesize")
        wording = dataclasses.replace(wording, **{name: getattr(DEFAULT_WORDING, name) for name in names})
    if config.prompt.system is not None:
        wording = dataclasses.replace(wording, system=config.prompt.system)
    if shown and limit is not None and config.prompt.examples == "auto":
        asked = presented(tokenizer, messages("?", (), wording, config.prompt.tags()))
        if 2 * len(encode(tokenizer, asked)) > limit:
            return make_wording(config.changed({"prompt.examples": "none"}), task, tokenizer)
    return wording if config.prompt.judge else dataclasses.replace(wording, with_routes=wording.synthesize)


def _examples(config: Config, wording: Wording, tokenizer: PreTrainedTokenizerBase) -> tuple[Example, ...]:
    """The examples of `prompt.examples`.

    A student whose tokenizer has the answer's tag as one token was made for the form: it needs none.
    """
    given, tag = config.prompt.examples, f"<{Tags.answer}>"
    if not isinstance(given, str):
        return tuple(Example(one["question"], one["think"], one["answer"]) for one in given)
    if given == "none" or config.prompt.execute:
        return ()
    ids = tokenizer(tag, add_special_tokens=False)["input_ids"]
    return () if len(ids) == 1 and str(tokenizer.decode(ids)).strip() == tag else wording.examples or EXAMPLES


def settled(config: Config, task: Task, tokenizer: PreTrainedTokenizerBase, limit: int | None = None) -> Config:
    """The configuration that says itself which examples the student is shown, wherever it is read again."""
    shown = make_wording(config, task, tokenizer, limit).examples and _examples(config, task.wording, tokenizer)
    examples = [dataclasses.asdict(one) for one in shown] or "none"
    return config.model_copy(update={"prompt": config.prompt.model_copy(update={"examples": examples})})


def presented(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[Message]:
    """The conversation in the roles that the chat template has; what a role is missing for goes into a user message.

    Templates may refuse or leave out system messages, and many leave out the thinking of earlier answers, which
    examples are to show: the first way counts that the template writes in full.
    """
    if len(messages) == 1 or not tokenizer.chat_template:
        return messages
    for way in (list[Message], _without_system, _as_one):
        probe = [  # numbered, as no template's own words are
            {**one, "content": f"«{place}» {one['content'] * (one['role'] == 'assistant')}"}
            for place, one in enumerate(messages)
        ]
        with suppress(ModelError):
            text = prompt_text(tokenizer, way(probe))
            if all(one["content"].strip() in text for one in probe):
                return way(messages)
    return messages


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """A system message at the head of the first user message."""
    if messages[0]["role"] != "system":
        return list(messages)
    return [_as_one(messages[:2])[0], *messages[2:]]


def _as_one(messages: Sequence[Message]) -> list[Message]:
    """All of it in one user message."""
    return [{"role": "user", "content": "\n\n".join(one["content"] for one in messages)}]


def make_selection(config: Config, schedule: Schedule | None = None) -> Selection:
    """Which routes the configuration shows, and how they fade; `schedule` instead of its own.

    Raises:
        ConfigError: the strategy or the schedule is another package's, and cannot be had.
    """
    routes = config.routes
    strategy = routes.selection if routes.selection in STRATEGIES else take("selections", routes.selection)
    fading = make_schedule(config) if schedule is None else schedule
    return Selection(routes.k, strategy, routes.error_ratio, routes.error_range, fading, config.fade.granularity)


def make_schedule(config: Config) -> Schedule:
    """How routes fade.

    Raises:
        ConfigError: the schedule is another package's, and cannot be had, or gives what is no p.
    """
    name = config.fade.schedule
    made = config.fade.made(name if name in SCHEDULES else take("schedules", name))
    with outside():
        for step in range(101):  # before anything is paid for
            made.p(step / 100)
    return made


def unfaded(routes: Sequence[Route], config: Config, seed: int, question_id: str) -> Draw:
    """Routes of a question at p = 1, as a function of (seed, question id) alone.

    Raises `ConfigError` for a strategy of another package that cannot be had, or chooses what it may not.
    """
    with outside():
        return draw(routes, make_selection(config, ALWAYS), seed=seed, question_id=question_id, step=STEP)


def judged(config: Config, routes: Sequence[Route]) -> Sequence[Route]:
    """The routes that a completion is to score: all that were shown, or none where no scores are asked for."""
    return routes if config.prompt.judge else ()


def template_arguments(tokenizer: PreTrainedTokenizerBase, settings: ModelSettings) -> dict[str, Any]:
    """What `apply_chat_template` is to be given besides the conversation.

    Templates that ask for today's date get `model.date`, whatever the clock says.

    Raises:
        ConfigError: `model.template_arguments` holds what the template does not read, or what is not to be set.
    """
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    ours = {"messages", "strftime_now", *inspect.signature(tokenizer.apply_chat_template).parameters}
    for name in settings.template_arguments:
        if name in ours or not re.search(rf"\b{re.escape(name)}\b", template):
            reads = "has no chat template" if not template else f"has a chat template that does not read {name}"
            reason = f"{name} is set by realm itself" if name in ours else f"the model {reads}"
            raise ConfigError(f"model.template_arguments: {reason}; leave it out.")
    dated = {"chat_template": _clock(settings.date) + template} if "strftime_now" in template else {}
    return {**settings.template_arguments, **dated}


def present(tokenizer: PreTrainedTokenizerBase, settings: ModelSettings) -> None:
    """Let `prompt_text` fill the tokenizer's chat template as the configuration has it; see `template_arguments`."""
    setattr(tokenizer, _ARGUMENTS, template_arguments(tokenizer, settings))


@functools.lru_cache(maxsize=16)
def _clock(date: str) -> str:
    """The beginning of a chat template whose `strftime_now` is noon of a day.

    A macro, because transformers lets no function through to a template.
    """
    noon = datetime.datetime.fromisoformat(f"{date}T12:00:00")
    told = {f"%-{letter}": noon.strftime(f"%-{letter}") for letter in "dmyHMSIj"}
    told |= {f"%{letter}": noon.strftime(f"%{letter}") for letter in string.ascii_letters}
    known = {code: text for code, text in told.items() if "%" not in text} | {"%%": "%"}
    filters = "".join(f"|replace({code!r}, {text!r})" for code, text in known.items())
    return "{%- macro strftime_now(format) -%}{{ format" + filters + " }}{%- endmacro +%}"


def prompt_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The prompt as text: by the tokenizer's chat template, or plain where it has none.

    The template's arguments are those that `present` has set.

    Raises:
        ModelError: the chat template refuses the conversation.
    """
    if not tokenizer.chat_template:
        return plain(messages)
    try:
        arguments = getattr(tokenizer, _ARGUMENTS, {})
        return str(
            tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **arguments)
        )
    except jinja2.TemplateError as error:
        raise ModelError(
            f"the chat template of the model refuses the prompt ({printable(str(error), 200)}). "
            "If it knows no system message, set prompt.system to ''."
        ) from error
    except Exception as error:  # a template is a program of others: what it does with a value may raise anything
        said = printable(f"{type(error).__name__}: {error}", 200)
        raise ModelError(
            f"the chat template of the model cannot write the prompt ({said}). It reads a conversation, a list of "
            "role and content, and what model.template_arguments gives it; mend one of them."
        ) from error


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of the prompt (see `encode_text`)."""
    return encode_text(tokenizer, prompt_text(tokenizer, messages))


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a prompt that is text already.

    A chat template writes its special tokens itself; to plain text they are added, but for an end token: a tokenizer
    that closes every text would have the student go on behind its end.
    """
    special = not tokenizer.chat_template
    ids: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    if special and ids[-1:] == [tokenizer.eos_token_id] and not text.endswith(str(tokenizer.eos_token)):
        ids = ids[:-1]
    return ids


@functools.lru_cache(maxsize=16)
def _beginning(tokens: frozenset[str]) -> re.Pattern[str]:
    """The first character of any of the tokens, where the rest of it follows: tokens that overlap are all found."""
    rests: dict[str, list[str]] = {}
    for token in sorted(tokens):
        rests.setdefault(token[0], []).append(re.escape(token[1:]))
    # By first character, so that text which has none of them is skipped fast however many tokens there are.
    found = "|".join(f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items())
    return re.compile(found or r"(?!)")


def plain_text(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], str]:
    """Makes a text one without any special token of the tokenizer: what others wrote can neither end nor begin a turn.

    A tokenizer reads its special tokens wherever they are spelled out. The first character of each is replaced, `<` by
    `‹`, or else followed by a space. Lone surrogates, which no tokenizer reads, become `?`. All other text stays as it
    is. Tokens of one character are left alone. Linear time.
    """
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    tokens = frozenset(token for token in (*tokenizer.all_special_tokens, *added) if len(token) > 1)
    harmless = functools.partial(_beginning(tokens).sub, lambda match: "‹" if match[0] == "<" else f"{match[0]} ")
    return lambda text: harmless(as_utf8(text))


def fit_prompt(
    tokenizer: PreTrainedTokenizerBase,
    question: Question,
    routes: Sequence[Route],
    wording: Wording,
    tags: Tags,
    limit: int,
) -> tuple[list[Message], tuple[Route, ...], int, list[int]]:
    """`realm.method.prompt.fit` for the tokenizer, with question and routes as plain text to it; last the token ids.

    The routes that are returned are those given, unchanged. Raises `PromptTooLongError` as `fit` does.
    """
    harmless = plain_text(tokenizer)
    shown = [Route(route.id, harmless(route.text), harmless(route.answer), route.label) for route in routes]
    ids: list[int] = []

    def count(conversation: list[Message]) -> int:
        ids[:] = encode(tokenizer, presented(tokenizer, conversation))
        return len(ids)

    messages, kept, dropped = fit(harmless(question.question), shown, wording, tags, count, limit)
    return presented(tokenizer, messages), tuple(routes[: len(kept)]), dropped, ids


@dataclass(frozen=True)
class Prompt:
    """The prompt of one question: its messages, the routes they show in order, how many of those drawn were dropped
    because the context was too short, its token ids, and the p they were faded with (0 where none was drawn)."""

    question: Question
    messages: list[Message]
    routes: tuple[Route, ...]
    dropped: int
    ids: list[int]
    p: float = 0.0


def make_prompt(
    tokenizer: PreTrainedTokenizerBase,
    question: Question,
    drawn: Draw,
    wording: Wording,
    tags: Tags,
    limit: int,
) -> Prompt:
    """The prompt with as many of the drawn routes as `limit` tokens hold.

    Raises:
        ModelError: the question does not fit even without routes; the message names it.
    """
    try:
        return Prompt(question, *fit_prompt(tokenizer, question, drawn.routes, wording, tags, limit), drawn.p)
    except PromptTooLongError as error:
        raise ModelError(
            f"question {question.id}: its prompt needs {error.tokens} tokens even without routes, and the context "
            f"leaves {error.limit} beside a completion; use a model with a longer context, allow fewer completion "
            "tokens (training.rl.max_completion_length, evaluation.max_completion_length), "
            f"{'show no examples (prompt.examples none), ' * bool(wording.examples)}or leave the question out."
        ) from error


def evaluation_prompts(
    questions: Sequence[Question],
    bank_routes: Callable[[str], list[Route]] | None,
    task: Task,
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    seed: int,
) -> list[Prompt]:
    """One prompt for each question, of at most `limit` tokens.

    Args:
        bank_routes: every route of a question id; None shows no routes. They are drawn at p = 1, as a function of
            (seed, question id) alone.

    Raises:
        ModelError: a question does not fit even without routes; the message names it.
    """
    wording, tags = make_wording(config, task, tokenizer, limit), config.prompt.tags()
    prompts = []
    for question in questions:
        # Where none are shown, how they are selected may be a plug-in that is not at hand.
        drawn = unfaded(bank_routes(question.id), config, seed, question.id) if bank_routes else NOTHING
        prompts.append(make_prompt(tokenizer, question, drawn, wording, tags, limit))
    return prompts
