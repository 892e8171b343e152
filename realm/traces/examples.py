"""From traces to the examples of SFT: the surface of MRPV, who takes a turn when, and token ids with their weights.

An example is a question with 0 … k routes -> a CoT as the thinking, its answer, the routes' labels as scores. The CoT
that is taught is never itself among the routes shown: the student would learn to copy instead of to reason.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from realm.bank.cot import CoT
from realm.method.prompt import Message, PromptTooLongError, escape, target, without_answer
from realm.method.routes import Draw, Route, select
from realm.method.seeds import derive, question_order, rng
from realm.plugins import outside
from realm.student.prompts import fit_prompt, judged
from realm.student.renderer import Renderer
from realm.tasks.base import Question, as_utf8
from realm.traces.base import Given, Tokenized, Trace


@dataclass(frozen=True)
class Example:
    """One SFT example before its completion is tokenised; `prompt`: token ids of the messages."""

    trace: Trace
    messages: list[Message]
    prompt: list[int]
    routes: tuple[Route, ...]
    completion: str

    @property
    def question_id(self) -> str:
        return self.trace.question.id

    @property
    def taught(self) -> CoT:
        return self.trace.cot


def by_question(traces: Sequence[Trace]) -> dict[str, list[Trace]]:
    """The traces of each question, in the order in which these come first."""
    found: dict[str, list[Trace]] = {}
    for trace in traces:
        found.setdefault(trace.question.id, []).append(trace)
    return found


def asked(trace: Trace) -> Question:
    """The question as the student reads it."""
    question = trace.question
    return replace(question, question=f"{question.question}\n{trace.instruction}") if trace.instruction else question


def fitting(traces: Sequence[Trace], given: Given) -> list[Trace]:
    """Those whose completion is short enough, and whose prompt alone fits where it is none of the task's."""
    renderer = given.renderer
    longest = [1.0] * given.config.routes.k  # the most scores that can follow
    scores = [longest if trace.question.id in renderer.questions else [] for trace in traces]
    texts = [completion(renderer, trace.cot, found) for trace, found in zip(traces, scores, strict=True)]
    lengths = [len(ids) + 1 for ids in ids_of(renderer.tokenizer, texts)]  # and the one that ends it
    return [
        trace
        for trace, length in zip(traces, lengths, strict=True)
        if length <= given.room and _prompt_fits(trace, renderer)
    ]


def lengths(traces: Sequence[Trace], given: Given) -> list[int]:
    """Tokens of each one's completion without scores, the one that ends it included."""
    texts = [completion(given.renderer, one.cot) for one in traces]
    return [len(ids) + 1 for ids in ids_of(given.renderer.tokenizer, texts)]


def alone(traces: Sequence[Trace], given: Given) -> list[Tokenized]:
    """Token ids of the traces as they are taught where no route is shown."""
    prompts = [given.renderer.fit(asked(trace)) for trace in traces]
    found = [
        Example(trace, prompt.messages, prompt.ids, (), completion(given.renderer, trace.cot))
        for trace, prompt in zip(traces, prompts, strict=True)
    ]
    return tokenize(given.renderer, found)


def _prompt_fits(trace: Trace, renderer: Renderer) -> bool:
    if renderer.questions.get(trace.question.id) == trace.question and not trace.instruction:
        return True  # `Renderer.check` has looked at it
    try:
        fit_prompt(renderer.tokenizer, asked(trace), (), renderer.wording, renderer.tags, renderer.limit)
    except PromptTooLongError:
        return False
    return True


def examples(traces: Sequence[Trace], given: Given, count: int) -> list[Example]:
    """`count` examples in the order of training: a function of the renderer's seed and the round.

    Questions take turns, or what the traces' `turn` says; each time one of the turn's traces is drawn by lot.
    """
    turns: dict[str, list[Trace]] = {}
    for trace in traces:
        turns.setdefault(trace.turn or trace.question.id, []).append(trace)
    seed, round_ = given.renderer.seed, given.round
    order = question_order(list(turns), count, derive(seed, "sft", round_))
    return [example(turns[key], given, rng(seed, "sft", round_, number)) for number, key in enumerate(order)]


def example(turn: Sequence[Trace], given: Given, source: random.Random) -> Example:
    """One of the traces, with routes beside it as `training.sft.empty_share` has it."""
    config, renderer = given.config, given.renderer
    trace = source.choice(turn)
    shown: list[Route] = []
    if renderer.selection.k and source.random() >= config.training.sft.empty_share:
        # Leaving out every route with the same text too would leave mostly wrong ones where a teacher's right CoTs read
        # alike, and teach that routes are wrong.
        others = [route for route in renderer.routes(trace.question.id) if route.id != trace.cot.id]
        # A synthesizer reads k routes at inference too; elsewhere routes fade, so that any number may come.
        k = source.randint(1, renderer.selection.k) if config.prompt.judge else renderer.selection.k
        with outside():
            shown = select(others, replace(renderer.selection, k=k), source)
    prompt = renderer.fit(asked(trace), Draw(tuple(shown), 1.0))
    scores = [float(route.label) for route in judged(config, prompt.routes)]
    return Example(trace, prompt.messages, prompt.ids, prompt.routes, completion(renderer, trace.cot, scores))


def completion(renderer: Renderer, cot: CoT | Route, scores: Sequence[float] = ()) -> str:
    """What is taught of a CoT; a special token that its text spells out would teach the student to end there.

    Where the prompt has opened the thinking, the completion goes on from there.
    """
    harmless = renderer.harmless
    found = target(harmless(cot.text), harmless(cot.answer), scores, renderer.tags)
    return found.removeprefix(f"<{renderer.tags.think}>").lstrip() if renderer.opens_thinking else found


def place_in_completion(renderer: Renderer, cot: CoT, place: int) -> int:
    """Where a character of a CoT's text is in its completion, in which tags and special tokens are written otherwise.

    What is not taught, such as the last line that states the answer, is where the thinking ends. A place within a tag
    or a special token may be a few characters off.
    """
    harmless, tags = renderer.harmless, renderer.tags
    taught = escape(without_answer(harmless(cot.text), harmless(cot.answer)).strip(), tags)
    before = escape(harmless(cot.text[:place]).lstrip(), tags)
    opening = "" if renderer.opens_thinking else f"<{tags.think}> "
    return len(opening) + min(len(before), len(taught))


def opening(renderer: Renderer, cot: CoT) -> str:
    """The completion that teaches a CoT, up to its answer."""
    text, tag = completion(renderer, cot), f"<{renderer.tags.answer}>"
    return text[: text.rindex(tag) + len(tag)]


def ids_of(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, in which no tokenizer takes lone surrogates; still without the token that ends them."""
    some = list(map(as_utf8, texts))
    found: list[list[int]] = tokenizer(some, add_special_tokens=False)["input_ids"] if some else []
    return found


def written_tokens(tokenizer: Callable[[], Any], cots: Sequence[CoT]) -> int:
    """What teachers wrote, as they counted it, or, where they did not, as the student's tokenizer does."""
    uncounted = [cot.text for cot in cots if cot.completion_tokens is None]
    counted = sum(cot.completion_tokens or 0 for cot in cots)
    return counted + sum(map(len, ids_of(tokenizer(), uncounted))) if uncounted else counted


def tokenize(renderer: Renderer, found: Sequence[Example]) -> list[Tokenized]:
    """Token ids of examples: the prompt as RL reads it, then the completion with the token that ends it in RL.

    Tokenised here rather than by SFTTrainer, which renders prompt and completion as one conversation: chat templates
    that rewrite the thinking of an assistant's turn would teach a surface that RL never sees.
    """
    end = renderer.tokenizer.eos_token_id
    rows = zip(found, ids_of(renderer.tokenizer, [one.completion for one in found]), strict=True)
    return [Tokenized(one.trace, one.prompt, [*ids, end], one.completion) for one, ids in rows]
