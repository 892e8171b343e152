"""MRPV, multi-route process verification: the prompt that shows the routes, and the surface the student answers in.

Source: arXiv 2508.12387; the wording and the tags are this project's. Question and routes are written by others: what
they contain is shown to the student, but it is never taken for a tag, a frame or a placeholder of ours.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from realm.method.routes import Route

Message = dict[str, str]


@dataclass(frozen=True)
class Tags:
    """Names of the tags of the three parts of a completion.

    Raises `ValueError` for names that are no names, are equal but for case, or are `route`, which frames the routes.
    """

    think: str = "think"
    answer: str = "answer"
    scores: str = "scores"

    def __post_init__(self) -> None:
        names = (self.think, self.answer, self.scores)
        for name in names:
            if not re.fullmatch(r"[A-Za-z][\w-]*", name):
                raise ValueError(f"a tag must be a letter followed by letters, digits, - or _, found {name!r}")
        if len({name.casefold() for name in (*names, "route")}) < 4:
            raise ValueError(f"the tags must differ from each other and from `route`, found {', '.join(names)}")


@dataclass(frozen=True)
class Example:
    """A question with an answer in the asked form, shown before the question as an earlier turn of the conversation.

    It shows the form: what it is about should be none of the task's own questions.
    """

    question: str
    think: str
    answer: str


#: What a student that does not know the form is shown, where a task words no examples of its own.
EXAMPLES = (
    Example(
        "A box holds 3 rows of 4 apples. 2 apples are bad. How many apples are good?",
        "3 rows of 4 apples are 3 * 4 = 12 apples. 12 - 2 = 10 of them are good.",
        "10",
    ),
    Example(
        "Tom is taller than Ann. Ann is taller than Ben. Who is the tallest?",
        "Ann is taller than Ben, and Tom is taller than Ann. So Tom is the tallest.",
        "Tom",
    ),
    Example(
        "A pen costs 2 and a book costs 9. Sue buys 3 pens and 1 book. How much does she pay?",
        "3 pens cost 3 * 2 = 6. With the book that is 6 + 9 = 15.",
        "15",
    ),
)


@dataclass(frozen=True)
class Wording:
    """The templates of a prompt. A placeholder that is not listed stays as it is written.

    `question` frames the user message: {question}, {routes} (the filled `route` templates, one below the other) and
    {instruction}: `with_routes`, `without_routes`, or in the place of the former `synthesize`, where no scores are
    asked for. `route` frames one route: {number} (from 1) and {route}; only `<route …>` and `</route>` are frames that
    a route's own text cannot forge. {route_answer} is the route's own final answer; the text's own last line that
    states it, `Final answer: …`, is not shown beside it.
    Every template may hold {k} (routes shown) and the tag names {think}, {answer}, {scores}.
    `examples` are shown before the question, without routes.
    """

    system: str
    question: str
    route: str
    with_routes: str
    without_routes: str
    synthesize: str = (
        "Above you see the question and {k} candidate solution(s), called routes. Some or all of them may be wrong. "
        "Compare them, find where they go wrong, and work out one right answer of your own.\n\n"
        "Reply in exactly this form:\n"
        "<{think}> your step-by-step reasoning </{think}>\n"
        "<{answer}> your final answer only, without explanation </{answer}>"
    )
    examples: tuple[Example, ...] = ()


DEFAULT_WORDING = Wording(
    system="You are a careful problem solver. You reason step by step and you check your work.",
    question="Question:\n{question}\n\n{routes}\n\n{instruction}",
    route="<route {number}>\n{route}\nFinal answer: {route_answer}\n</route>",
    with_routes=(
        "Above you see the question and {k} proposed solution(s), called routes. "
        "Some routes are right and some are wrong, and nobody has told you which; several may share one mistake. "
        "Work out the answer yourself and use the routes to check each step. "
        "Then judge every route: does it reach the correct final answer?\n\n"
        "Reply in exactly this form:\n"
        "<{think}> your step-by-step reasoning about the question and the routes </{think}>\n"
        "<{answer}> your final answer only, without explanation </{answer}>\n"
        "<{scores}> {k} number(s) between 0 and 1, separated by commas, one for each route in order: "
        "1 = surely right, 0 = surely wrong </{scores}>"
    ),
    without_routes=(
        "Work out the answer yourself.\n\n"
        "Reply in exactly this form:\n"
        "<{think}> your step-by-step reasoning </{think}>\n"
        "<{answer}> your final answer only, without explanation </{answer}>"
    ),
)


class PromptTooLongError(ValueError):
    """The prompt does not fit even without routes. `tokens`: what the question alone needs; `limit`: what there is."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the question alone needs {tokens} tokens, the prompt may have {limit}")
        self.tokens = tokens
        self.limit = limit


def tag_head(*names: str) -> str:
    """Regular expression of a tag from behind its `<` to the end of its name; group 1 is the slash, group 2 the name.

    The parser and `escape` share it, so that there is no tag which one of them knows and the other does not. The
    possessive quantifiers keep it linear on long runs of white space.
    """
    return rf"\s*+(/?+)\s*+({'|'.join(re.escape(name) for name in names)})(?![\w-])"


@functools.lru_cache(maxsize=16)
def _opening(tags: Tags) -> re.Pattern[str]:
    less_than = r"(?:[<＜﹤]|&(?:lt|\#0*+60|\#x0*+3c);?)"
    return re.compile(
        rf"{less_than}(?={tag_head(tags.think, tags.answer, tags.scores, 'route')}|\|)",
        re.IGNORECASE,
    )


def escape(text: str, tags: Tags) -> str:
    """`text` with `‹` for every `<` that begins one of our tags, a route's frame or a chat template's `<|…`.

    Any case, inner white space, slash and attributes count, closed by `>` or not, and so do the full-width, small and
    HTML-entity forms of `<`. All other text stays as it is. Linear time.
    """
    return _opening(tags).sub("‹", text)


_PLACEHOLDER = re.compile(r"\{(question|routes|instruction|number|route|route_answer|k|think|answer|scores)\}")


def _fill(template: str, values: dict[str, str]) -> str:
    """Replace the placeholders in one pass: what is filled in is never looked at again."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


_STATED = re.compile(
    r"(?:^|\n)[ \t#*_>-]{0,16}(?:the[ \t]{1,4})?final[ \t]{1,4}answer(?:[ \t]{1,4}is)?[ \t*_]{0,8}:?([^\n]*)\Z",
    re.IGNORECASE,
)


def without_answer(text: str, answer: str) -> str:
    """`text` without the last line in which a teacher states its answer as it is asked to, `Final answer: …`.

    Markup, case and a full stop do not count. A text that ends otherwise, in another answer, or has nothing before that
    line stays as it is.
    """

    def value(said: str) -> str:
        return " ".join(said.split()).strip(" *_`\"'$.").casefold()

    stated = _STATED.search(text, max(0, text.rstrip().rfind("\n")), len(text.rstrip()))
    if not stated or value(stated[1]) != value(answer):
        return text
    return text[: stated.start()].rstrip() or text


def _route_values(number: int, route: Route, wording: Wording, tags: Tags) -> dict[str, str]:
    # A template that has no place for the answer leaves it where it is.
    text = without_answer(route.text, route.answer) if "{route_answer}" in wording.route else route.text
    return {
        "number": str(number),
        "route": escape(text.strip(), tags),
        "route_answer": escape(route.answer.strip(), tags),
    }


def messages(question: str, routes: Sequence[Route], wording: Wording, tags: Tags) -> list[Message]:
    """The conversation that asks the question and shows the routes: a system message (if worded) and a user message.

    Examples stand between the two: the user message that asks one, and its answer.
    """
    values = {"k": str(len(routes)), "think": tags.think, "answer": tags.answer, "scores": tags.scores}
    frame = wording.question
    if routes:
        values["routes"] = "\n".join(
            _fill(wording.route, {**values, **_route_values(number, route, wording, tags)})
            for number, route in enumerate(routes, start=1)
        )
        values["instruction"] = _fill(wording.with_routes, values)
    else:
        # The blank line that sets the routes off goes with them.
        frame = re.sub(r"\{routes\}\s*", "", frame)
        values["instruction"] = _fill(wording.without_routes, values)
    values["question"] = escape(question.strip(), tags)
    found = [{"role": "system", "content": _fill(wording.system, values)}] if wording.system else []
    for shown in wording.examples:
        found += messages(shown.question, (), dataclasses.replace(wording, system="", examples=()), tags)
        found.append({"role": "assistant", "content": target(shown.think, shown.answer, None, tags)})
    return [*found, {"role": "user", "content": _fill(frame, values).strip()}]


def plain(messages: Sequence[Message]) -> str:
    """The conversation as text, for a model without a chat template: the contents, a blank line behind each."""
    return "".join(message["content"] + "\n\n" for message in messages)


def target(think: str, answer: str, scores: Sequence[float] | None, tags: Tags) -> str:
    """The canonical completion, as SFT teaches it; without scores (None or none) there is no scores part.

    `think` and `answer` are escaped, so that whatever a teacher wrote, the parser reads these very parts back. The
    answer is taught in its own part only, not at the end of the thinking too.
    """
    parts = [
        (tags.think, escape(without_answer(think, answer).strip(), tags)),
        (tags.answer, escape(answer.strip(), tags)),
    ]
    if scores:
        parts.append((tags.scores, ", ".join(f"{score:g}" for score in scores)))
    return " ".join(f"<{tag}> {content} </{tag}>" for tag, content in parts)


def fit(
    question: str,
    routes: Sequence[Route],
    wording: Wording,
    tags: Tags,
    count: Callable[[list[Message]], int],
    limit: int,
) -> tuple[list[Message], tuple[Route, ...], int]:
    """The longest prompt of at most `limit` tokens: whole routes are dropped from the end, none is ever cut.

    `count` gives the tokens of a conversation as the model will see it (chat template included). Returns the
    messages, the routes that stayed, and the number of routes dropped. Raises `PromptTooLongError` where the question
    alone does not fit.
    """
    for kept in range(len(routes), -1, -1):
        conversation = messages(question, routes[:kept], wording, tags)
        tokens = count(conversation)
        if tokens <= limit:
            return conversation, tuple(routes[:kept]), len(routes) - kept
    raise PromptTooLongError(tokens, limit)


def template_hash(wording: Wording, tags: Tags) -> str:
    """16 hexadecimal digits that change whenever the wording or the tags do."""
    worded = {key: value for key, value in dataclasses.asdict(wording).items() if value != ()}
    content = json.dumps([worded, dataclasses.asdict(tags)], sort_keys=True)
    return hashlib.sha256(content.encode("ascii")).hexdigest()[:16]
