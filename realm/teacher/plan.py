"""What a collection owes: which teacher gives which of the N samples of a question, under which key, at what price.

Everything here is a pure function of the configuration: the same settings owe the same samples under the same keys, so
that a bank knows by its ids alone what is left to do.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice, zip_longest
from typing import Any, Protocol, TypeVar

from realm.method.seeds import rng
from realm.sections import TeacherConfig
from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Teacher
from realm.teacher.guidance import Guidance

#: Tokens that the template of a chat may add to each message.
TOKENS_PER_MESSAGE = 64
#: UTF-8 bytes of an average token of a prompt: for estimates, never for the budget.
BYTES_PER_TOKEN = 4
#: Samples among which `preview` looks for guided and unguided ones.
PREVIEWED = 2000


@dataclass(frozen=True)
class Source:
    """A teacher with its settings, as one of those that the samples are shared out to."""

    teacher: Teacher
    settings: TeacherConfig

    @property
    def name(self) -> str:
        return self.teacher.name

    @property
    def free(self) -> bool:
        """Whether asking it costs nothing but time on this machine."""
        return self.teacher.costs != "money"

    @property
    def currency(self) -> str:
        """Of its prices, "" where it has none."""
        price = self.settings.price
        return "" if price.input is None and price.output is None else price.currency

    @property
    def together(self) -> int:
        """How many samples of one prompt a request gives at most, which pays for the prompt once."""
        return int(getattr(self.teacher, "together", 1))

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> Decimal | None:
        """What that many tokens cost, so many of the prompt cached; None where a price is not known."""
        found = self.settings.cost(prompt_tokens, completion_tokens, cached_tokens)
        return Decimal(0) if found is None and self.free else found

    def bound(self, messages: Any) -> tuple[int, int]:
        """The most tokens that prompt and answer can have: no token is shorter than a byte."""
        if self.teacher.costs == "nothing":
            return 0, 0
        count, size = measure(messages)
        # What else is sent (tools, a schema) may become part of the prompt.
        extra = self.settings.sampling.extra
        size += len(json.dumps(extra, default=str, ensure_ascii=False).encode("utf-8", "replace")) if extra else 0
        return size + TOKENS_PER_MESSAGE * count, self.settings.sampling.max_tokens


def measure(messages: Any) -> tuple[int, int]:
    """(number of messages, UTF-8 bytes of their texts) of what a teacher is sent."""
    texts = [message["content"] if isinstance(message, dict) else str(message) for message in messages]
    return len(texts), sum(len(text.encode("utf-8", "replace")) for text in texts)


def deal(shares: Mapping[str, int], samples: int) -> list[tuple[str, int]]:
    """Who gives each of the samples of a question: (teacher, number of the sample among the teacher's own).

    Smooth weighted round-robin: after every sample each teacher is as near to its share as it can be, and the list for
    fewer samples is the beginning of the list for more. Ties go to the first teacher.
    """
    shares = {name: share for name, share in shares.items() if share > 0}
    total = sum(shares.values())
    credit = dict.fromkeys(shares, 0)
    given = dict.fromkeys(shares, 0)
    dealt = []
    for _ in range(samples):
        for name, share in shares.items():
            credit[name] += share
        chosen = max(credit, key=lambda name: credit[name])
        credit[chosen] -= total
        dealt.append((chosen, given[chosen]))
        given[chosen] += 1
    return dealt


class _Worded(Protocol):
    @property
    def messages(self) -> Any: ...


_W = TypeVar("_W", bound=_Worded)


def shared(samples: Iterable[_W], together: int) -> Iterator[tuple[_W, bool]]:
    """Each sample with whether it is a further one of the request for the one before it, which has its prompt."""
    before: _W | None = None
    length = 0
    for sample in samples:
        further = before is not None and length < together and sample.messages == before.messages
        before, length = sample, length + 1 if further else 1
        yield sample, further


@dataclass(frozen=True)
class Job:
    """One sample that is owed: `number` counts the samples of its teacher for its question."""

    key: str
    question: Question
    number: int
    comments: tuple[Comment, ...]
    messages: Any


@dataclass
class _Prompt:
    """What is sent for a question with certain comments, and the key up to the number of the sample."""

    comments: tuple[Comment, ...]
    messages: Any
    head: Any = field(repr=False)

    def key(self, number: int, again: int = 0) -> str:
        whole = self.head.copy()
        whole.update((f", {number}, {again}]" if again else f", {number}]").encode("ascii"))
        return str(whole.hexdigest()[:16])


class Plan:
    """All samples that the configuration asks for, made one at a time.

    Args:
        sources: the teachers, in the order of the configuration; those without a share are not asked.
        questions: those that are asked about; each N = `samples` times.
    """

    def __init__(
        self, sources: Sequence[Source], guidance: Guidance, questions: Sequence[Question], samples: int, seed: int
    ) -> None:
        self.sources = [source for source in sources if source.settings.share > 0]
        self.guidance = guidance
        self.questions = questions
        self.samples = samples
        self.seed = seed
        dealt = deal({source.name: source.settings.share for source in sources}, samples)
        self.quota = {source.name: sum(name == source.name for name, _ in dealt) for source in sources}

    @property
    def size(self) -> int:
        """Number of all samples."""
        return len(self.questions) * self.samples

    def jobs(self, source: Source, present: Container[str] = (), stale: Container[str] = ()) -> Iterator[Job]:
        """The samples of a teacher whose keys are not `present`, question by question.

        Those whose keys are `stale` are asked for afresh: under a key that also counts how often that was done.
        """
        params = source.teacher.parameters
        for question in self.questions:
            prompts: dict[tuple[Comment, ...], _Prompt] = {}
            drawn = [(number, self._draw(source, question, number)[1]) for number in range(self.quota[source.name])]
            if source.together > 1:  # those of one prompt stand side by side
                order = {shown: at for at, (_, shown) in reversed(list(enumerate(drawn)))}
                drawn.sort(key=lambda one: order[one[1]])
            for number, shown in drawn:
                prompt = prompts.get(shown)
                if prompt is None:
                    messages = source.teacher.messages(question, shown)
                    text = json.dumps([question.id, question.question, source.name, params, messages])
                    prompt = prompts[shown] = _Prompt(shown, messages, hashlib.sha256(text[:-1].encode("ascii")))
                key, again = prompt.key(number), 0
                while key in stale:
                    again += 1
                    key = prompt.key(number, again)
                if key not in present:
                    yield Job(key, question, number, shown, prompt.messages)

    def ask(self, source: Source, job: Job) -> Ask:
        """The job as its teacher is asked: the same randomness on every try."""
        return Ask(job.key, job.question, job.comments, job.messages, self._draw(source, job.question, job.number)[0])

    def _draw(self, source: Source, question: Question, number: int) -> tuple[random.Random, tuple[Comment, ...]]:
        """The sample's own randomness, after it decided which comments are shown."""
        stream = rng(self.seed, "teacher", source.name, question.id, number)
        return stream, self.guidance.shown(question, stream)


@dataclass
class Estimate:
    """What the samples owed by one teacher will take. Tokens: about that many, and at most; None: nobody can tell."""

    source: Source
    samples: int = 0
    requests: int = 0
    guided: int = 0
    prompt: int = 0
    prompt_most: int = 0
    #: Of one answer on average, where the bank has some of this teacher.
    mean: float | None = None
    #: The same of each split of the questions.
    splits: dict[str, Estimate] = field(default_factory=dict)

    def add(self, job: Job, further: bool, split: str = "") -> None:
        """Count a sample; `further`: of the request for the one before it."""
        if split:
            self.splits.setdefault(split, Estimate(self.source, mean=self.mean)).add(job, further)
        self.samples += 1
        self.guided += bool(job.comments)
        if further:
            return
        self.requests += 1
        if self.source.teacher.costs != "nothing":
            self.prompt += -(-measure(job.messages)[1] // BYTES_PER_TOKEN)
        self.prompt_most += self.source.bound(job.messages)[0]

    @property
    def completion_most(self) -> int:
        return self.samples * self.source.bound([])[1]

    @property
    def completion(self) -> int | None:
        return None if self.mean is None else round(self.samples * self.mean)

    def cost(self) -> tuple[Decimal | None, Decimal | None]:
        """(about, at most); None without both prices, or, for the first, without an answer to judge from."""
        about = None if self.completion is None else self.source.cost(self.prompt, self.completion)
        return about, self.source.cost(self.prompt_most, self.completion_most)


def survey(
    plan: Plan, present: Container[str], means: Mapping[str, float], stale: Container[str] = ()
) -> list[Estimate]:
    """What each teacher owes beyond the keys that are `present`, and what it will take.

    `means`: tokens of an average answer in the bank, by teacher; `stale`: see `Plan.jobs`.
    """
    found = []
    for source in plan.sources:
        estimate = Estimate(source, mean=means.get(source.name))
        for job, further in shared(plan.jobs(source, present, stale), source.together):
            estimate.add(job, further, job.question.split)
        found.append(estimate)
    return found


def preview(plan: Plan, count: int) -> list[tuple[Source, Job]]:
    """Samples to look at: of every teacher by turns, guided and unguided ones by turns, as far as there are both."""
    columns = [[(source, job) for job in _alternating(plan.jobs(source), count)] for source in plan.sources]
    return [item for row in zip_longest(*columns) for item in row if item is not None][:count]


def _alternating(jobs: Iterable[Job], count: int) -> list[Job]:
    """At most `count` of the first jobs, guided and unguided ones by turns where both turn up."""
    kinds: dict[bool, list[Job]] = {True: [], False: []}
    for job in islice(jobs, PREVIEWED):
        if len(kinds[bool(job.comments)]) < count:
            kinds[bool(job.comments)].append(job)
        if min(map(len, kinds.values())) >= -(-count // 2):
            break
    pairs = zip_longest(kinds[True], kinds[False])
    return [job for pair in pairs for job in pair if job is not None][:count]
