"""What a student answers, read and judged: for the steps that sample it or ask whether a thinking brings it home."""

from collections.abc import Sequence
from dataclasses import dataclass

from realm.bank.cot import CoT
from realm.bank.labelling import label_of
from realm.errors import ConfigError, ModelError
from realm.method.completion import Completion
from realm.student.generate import Generation
from realm.student.load import load
from realm.student.prompts import Prompt, judged
from realm.student.scoring import read
from realm.tasks.base import Question
from realm.tasks.verify import Verdict
from realm.tasks.workers import verify_once
from realm.traces.base import Given, Trace, Voice
from realm.traces.examples import asked, ids_of, opening

#: Whose CoTs those of a student are.
TEACHER = "student"


@dataclass(frozen=True)
class Answered:
    """One completion of a prompt: as it was written, as it is read, and what the verifier says of its answer."""

    prompt: Prompt
    written: Generation
    read: Completion
    verdict: Verdict

    def cot(self, sample: int, author: str = TEACHER) -> CoT:
        """It as a CoT of its author, number `sample` of its question."""
        return CoT(
            self.prompt.question.id,
            self.read.think,
            self.read.answer or "",
            label_of(self.verdict),
            author,
            sample=sample,
            prompt_tokens=len(self.prompt.ids),
            completion_tokens=self.written.tokens,
        )


def answers(
    voice: Voice,
    prompts: Sequence[Prompt],
    given: Given,
    *,
    samples: int = 1,
    temperature: float | None = None,
    seed: int = 0,
) -> list[Answered]:
    """`samples` completions of each prompt, those of one behind each other; temperature None is greedy."""
    _ = given.verifier  # where there is none yet, nothing is sampled
    rows = voice.write(
        [prompt.ids for prompt in prompts], length=given.room, samples=samples, temperature=temperature, seed=seed
    )
    found = [(prompt, one) for prompt, row in zip(prompts, rows, strict=True) for one in row]
    texts = [(one.text, len(judged(given.config, prompt.routes)), prompt.question) for prompt, one in found]
    return [Answered(*item, *how) for item, how in zip(found, assess(texts, given), strict=True)]


def assess(texts: Sequence[tuple[str, int, Question]], given: Given) -> list[tuple[Completion, Verdict]]:
    """Completions, each with the routes that it scores and its question, as an evaluation reads and judges them."""
    found = read(
        [(text, scores) for text, scores, _ in texts], given.renderer.tags, given.verifier, given.config.prompt.execute
    )
    claims = [asked.claim(one.answer) for one, (_, _, asked) in zip(found, texts, strict=True)]
    return list(zip(found, verify_once(given.verifier, claims), strict=True))


def another(model: str, given: Given, key: str) -> Voice:
    """The voice of another model, a directory or a run's `model` folder, that reads the student's own tokens.

    Args:
        key: where it is named in the configuration, for messages.

    Raises:
        ConfigError: it reads other tokens.
        ModelError: as of `realm.student.load.load`, with the key.
    """
    try:
        found, tokenizer = load(model, given.config.model.dtype)
    except ModelError as error:
        raise ModelError(f"{key}: {str(error).removesuffix(' Check model.path.')}") from error
    if tokenizer.get_vocab() != given.tokenizer.get_vocab():
        raise ConfigError(
            f"{key}: {model} reads other tokens than the student, so that neither can read what the other writes or "
            "expects; name a model with the student's own tokenizer, such as a larger one of its family."
        )
    return Voice(found, given.tokenizer, batch_size=given.config.evaluation.batch_size, spent=given.spent)


#: Tokens that an answer may have beyond those of the longest gold.
SPARE = 8


def brings_home(
    voice: Voice,
    traces: Sequence[Trace],
    given: Given,
    *,
    samples: int = 1,
    temperature: float | None = None,
    seed: int = 0,
) -> list[int]:
    """For each trace how many of `samples` answers are right that a student gives behind its thinking, closed there.

    0 where thinking and answer do not fit the context.
    """
    renderer = given.renderer
    openings = [opening(renderer, trace.cot) for trace in traces]
    prompts = [
        [*renderer.fit(asked(trace)).ids, *ids]
        for trace, ids in zip(traces, ids_of(renderer.tokenizer, openings), strict=True)
    ]
    ends = [f" {trace.question.answer} </{renderer.tags.answer}>" for trace in traces]
    length = max(map(len, ids_of(renderer.tokenizer, ends)), default=0) + SPARE
    fit = [number for number, prompt in enumerate(prompts) if len(prompt) + length <= renderer.context]
    rows = voice.write(
        [prompts[number] for number in fit], length=length, samples=samples, temperature=temperature, seed=seed
    )
    texts = [
        (openings[number] + one.text, 0, traces[number].question)
        for number, row in zip(fit, rows, strict=True)
        for one in row
    ]
    right = [0] * len(traces)
    for place, (_, verdict) in enumerate(assess(texts, given)):
        right[fit[place // samples]] += verdict.correct
    return right
