"""Inference by voting weighted by scores (`realm.method.voting`), and plain majority voting at the same cost in tokens.

Cost: the tokens of every prompt, read once for all of its completions, and of all completions of both passes. The
majority gets as many plain samples as fit into the same number of tokens, those of the first pass first. None of this
needs a gold answer but `vote_records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.config import Config
from realm.evaluation import measures
from realm.method.completion import Completion, parse
from realm.method.prompt import Message, Tags
from realm.method.routes import Route
from realm.method.seeds import derive, rng
from realm.method.voting import affordable, choose, route_weights, score_weighted, vote
from realm.student.generate import Generation, Progress, generate
from realm.student.judging import alike, verify_once
from realm.student.prompts import Prompt, encode, evaluation_prompts, fit_prompt, make_wording
from realm.tasks.base import Question, Task
from realm.tasks.workers import VerifierPool

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Record = dict[str, Any]


@dataclass(frozen=True)
class Election:
    """How one question was decided.

    Attributes:
        answer: the winner, None where no completion has an answer.
        shown: completions of the first pass that the second was shown, in the order of the prompt.
        weights: of the first pass's completions.
        second: completions of the second pass, `parsed` into answers and scores.
        tokens: what both passes took.
    """

    answer: str | None
    shown: tuple[int, ...]
    weights: tuple[float, ...]
    second: tuple[Generation, ...]
    parsed: tuple[Completion, ...]
    tokens: int


@dataclass(frozen=True)
class Majority:
    """How plain majority voting decides: its answer, the answers that voted, the tokens they took."""

    answer: str | None
    votes: tuple[str | None, ...]
    tokens: int


class Voter:
    """Decides questions by voting.

    Args:
        limit: tokens that a prompt may have (`realm.student.load.prompt_limit`).
        length: tokens that a completion may have.
        seed: of the second pass and of further plain samples.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        pool: VerifierPool,
        config: Config,
        *,
        limit: int,
        length: int,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.task, self.pool, self.config = model, tokenizer, task, pool, config
        self.limit, self.length, self.seed = limit, length, seed
        self.tags: Tags = config.prompt.tags()
        self.wording = make_wording(config, task)

    def prompts(self, questions: Sequence[Question]) -> list[Prompt]:
        """The prompts of the first pass."""
        return evaluation_prompts(questions, None, self.task, self.config, self.tokenizer, self.limit, self.seed)

    def elect(
        self, prompts: Sequence[Prompt], first: Sequence[Sequence[Generation]], progress: Progress | None = None
    ) -> list[Election]:
        """Let the model judge the completions of the first pass, and count the votes of both passes.

        Routes that do not fit the context are dropped from the prompt, as everywhere.

        Args:
            prompts: of the first pass; see `prompts`.
            first: the completions of each.
            progress: called with (prompts done, prompts in all) of the second pass.
        """
        parsed = [[parse(found.text, 0, self.tags) for found in group] for group in first]
        asked, shown = self._second_prompts(prompts, parsed)
        settings = self.config.evaluation
        second = generate(
            self.model,
            self.tokenizer,
            asked,
            max_new_tokens=self.length,
            batch_size=settings.batch_size,
            samples=settings.vote_samples or max(1, settings.samples // 2),
            temperature=settings.temperature,
            seed=derive(self.seed, "vote"),
            progress=progress,
        )
        read = [
            [parse(found.text, len(places), self.tags) for found in group]
            for places, group in zip(shown, second, strict=True)
        ]
        answers = [[item.answer for item in (*one, *two)] for one, two in zip(parsed, read, strict=True)]
        elections = []
        for i, known in enumerate(alike(self.pool, answers, [prompt.question.question for prompt in prompts])):
            ballot = known[: len(first[i])], shown[i], [item.scores for item in read[i]]
            winner = score_weighted(*ballot, known[len(first[i]) :])
            elections.append(
                Election(
                    answer=_spelled(winner, known, answers[i]),
                    shown=shown[i],
                    weights=tuple(route_weights(*ballot)),
                    second=tuple(second[i]),
                    parsed=tuple(read[i]),
                    tokens=self._tokens(prompts[i].messages, first[i]) + self._tokens(asked[i], second[i]),
                )
            )
        return elections

    def _second_prompts(
        self, prompts: Sequence[Prompt], parsed: Sequence[Sequence[Completion]]
    ) -> tuple[list[list[Message]], list[tuple[int, ...]]]:
        """For every question the prompt that shows completions of the first pass, and which these are, in order."""
        asked, shown = [], []
        questions = [prompt.question.question for prompt in prompts]
        groups = alike(self.pool, [[item.answer for item in row] for row in parsed], questions)
        for prompt, row, known in zip(prompts, parsed, groups, strict=True):
            chosen = choose(known, [item.think for item in row], self.config.routes.k)
            # Shuffled: the place in the prompt must not tell how often an answer was given.
            rng(self.seed, "vote", prompt.question.id).shuffle(chosen)
            # Nobody knows the labels, and no prompt shows them.
            routes = [Route(str(index), row[index].think, row[index].answer or "", 0) for index in chosen]
            messages, kept, _ = fit_prompt(self.tokenizer, prompt.question, routes, self.wording, self.tags, self.limit)
            asked.append(messages)
            shown.append(tuple(chosen[: len(kept)]))
        return asked, shown

    def majorities(
        self, prompts: Sequence[Prompt], first: Sequence[Sequence[Generation]], budgets: Sequence[int]
    ) -> list[Majority]:
        """Plain majority voting with at most so many tokens for each question, but at least one completion.

        Args:
            prompts, first: as for `elect`; further completions are sampled as those of the first pass were.
        """
        settings = self.config.evaluation
        found = [list(group) for group in first]
        left = [budget - self._tokens(prompt.messages, ()) for prompt, budget in zip(prompts, budgets, strict=True)]
        lap = 0
        # A completion has a token at least, so this ends.
        while owed := [i for i, group in enumerate(found) if sum(item.tokens for item in group) < left[i]]:
            more = generate(
                self.model,
                self.tokenizer,
                [prompts[i].messages for i in owed],
                max_new_tokens=self.length,
                batch_size=settings.batch_size,
                samples=settings.samples,
                temperature=settings.temperature,
                seed=derive(self.seed, "majority", lap),
            )
            for i, group in zip(owed, more, strict=True):
                found[i] += group
            lap += 1
        kept = [
            group[: affordable([item.tokens for item in group], room)] for group, room in zip(found, left, strict=True)
        ]
        answers = [[parse(item.text, 0, self.tags).answer for item in group] for group in kept]
        groups = alike(self.pool, answers, [prompt.question.question for prompt in prompts])
        return [
            Majority(
                answer=_spelled(vote(known, [1.0] * len(known)), known, row),
                votes=tuple(row),
                tokens=self._tokens(prompt.messages, group),
            )
            for prompt, group, known, row in zip(prompts, kept, groups, answers, strict=True)
        ]

    def _tokens(self, messages: Sequence[Message], completions: Sequence[Generation]) -> int:
        return len(encode(self.tokenizer, messages)) + sum(item.tokens for item in completions)


def _spelled(winner: int | None, groups: Sequence[int | None], answers: Sequence[str | None]) -> str | None:
    """The first answer of the group that won."""
    return None if winner is None else answers[groups.index(winner)]


def vote_records(
    voter: Voter, questions: Sequence[Question], records: Sequence[Record], progress: Progress | None = None
) -> tuple[Record, list[Record]]:
    """Vote on the completions in the records of an evaluation without routes (rows of predictions.jsonl).

    Returns:
        What the summary says of it (see `summarise_votes`), and the records with an entry `vote`: `answer`, `correct`,
        `tokens`, the completions of the first pass that were `shown`, the `weights` of all of them, the `completions`
        of the second pass, and the `majority` at equal tokens with its `votes`, `answer`, `correct`, `tokens`.
    """
    prompts = voter.prompts(questions)
    first = [
        [Generation(item["text"], item["tokens"], item["truncated"]) for item in record["completions"]]
        for record in records
    ]
    elections = voter.elect(prompts, first, progress)
    majorities = voter.majorities(prompts, first, [election.tokens for election in elections])
    claims = [
        (answer, question.answer, question.question)
        for election, majority, question in zip(elections, majorities, questions, strict=True)
        for answer in (election.answer, majority.answer, *(item.answer for item in election.parsed))
    ]
    verdicts = iter(verify_once(voter.pool, claims))
    voted = []
    for record, election, majority in zip(records, elections, majorities, strict=True):
        correct, plain = next(verdicts).correct, next(verdicts).correct
        entry = {
            "answer": election.answer,
            "correct": correct,
            "tokens": election.tokens,
            "shown": list(election.shown),
            "weights": list(election.weights),
            "completions": [
                {
                    "text": found.text,
                    "answer": item.answer,
                    "scores": list(item.scores),
                    "correct": next(verdicts).correct,
                    "reasons": list(item.reasons),
                    "tokens": found.tokens,
                    "truncated": found.truncated,
                }
                for found, item in zip(election.second, election.parsed, strict=True)
            ],
            "majority": {
                "answer": majority.answer,
                "correct": plain,
                "tokens": majority.tokens,
                "votes": list(majority.votes),
            },
        }
        voted.append({**record, "vote": entry})
    return summarise_votes(voted, voter.config.evaluation.bootstrap, voter.seed), voted


def summarise_votes(records: Sequence[Record], resamples: int, seed: int) -> Record:
    """The figures of the vote, each accuracy with `_low` and `_high` (95 %, over questions).

    `vote_accuracy` · `vote_majority` accuracy of majority voting at equal tokens · `vote_gain` the first minus the
    second, paired by question · `vote_samples` completions of the second pass · `vote_majority_samples` of the
    majority, `vote_tokens` and `vote_majority_tokens` means for a question.
    """
    votes = {record["question_id"]: record["vote"] for record in records}
    sides = {
        "vote_accuracy": {name: float(vote["correct"]) for name, vote in votes.items()},
        "vote_majority": {name: float(vote["majority"]["correct"]) for name, vote in votes.items()},
    }
    summary: Record = {}
    for name, values in sides.items():
        low, high = measures.bootstrap_interval(list(values.values()), resamples, derive(seed, "bootstrap"))
        summary |= {name: fmean(values.values()), f"{name}_low": low, f"{name}_high": high}
    gain = measures.paired_difference(
        sides["vote_accuracy"], sides["vote_majority"], resamples, derive(seed, "bootstrap")
    )
    summary |= dict(zip(("vote_gain", "vote_gain_low", "vote_gain_high"), gain, strict=True))
    return summary | {
        "vote_samples": len(records[0]["vote"]["completions"]),
        "vote_tokens": fmean(vote["tokens"] for vote in votes.values()),
        "vote_majority_samples": fmean(len(vote["majority"]["votes"]) for vote in votes.values()),
        "vote_majority_tokens": fmean(vote["majority"]["tokens"] for vote in votes.values()),
    }
