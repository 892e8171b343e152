"""What recent batches achieved, and what it changes of the next: its routes (`adaptive`), its questions (`dynamic`).

    batch of step n ──> counts by key, added up over the processes ──> moving averages ──> batch of step n + 1
                                                                             └──> feedback.json in each checkpoint

Counts are whole numbers, so that their sums are the same however the rows are spread over processes; with the moving
averages restored from the checkpoint a resumed run shows and asks what the straight one does.
"""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from realm.config import Config
from realm.method.domains import domain_weights
from realm.method.schedule import moving_average
from realm.method.seeds import derive, question_order, rng
from realm.processes import main_process
from realm.student.prompts import make_schedule
from realm.tasks.base import Question
from realm.training.checkpoints import Remembering
from realm.training.rewards import Group

logger = logging.getLogger(__name__)

#: Rewards are added up in parts of the highest one: sums of whole numbers do not depend on their order.
_PARTS = 1_000_000


class Feedback(Remembering):
    """Moving averages of one stage of RL, learned from its batches and kept in its checkpoints.

    Args:
        config: `fade`, `reward` and `training.rl` are read.
        questions: the training questions by id; their kinds are the domains.
        seed: of the stage; the draws of domains and questions derive from it.
        adaptive: whether the schedule asks for `success`.
        dynamic: whether the sampler asks for questions.

    Attributes:
        route_free_success: moving average of the share of right answers in groups without routes, in [0, 1]; None
            until there was such a group.
    """

    FILE = "feedback.json"
    WHAT = "what the run had learned for fade.schedule adaptive or training.rl.sampler dynamic"

    def __init__(
        self, config: Config, questions: Mapping[str, Question], seed: int, *, adaptive: bool, dynamic: bool
    ) -> None:
        self.adaptive, self.dynamic = adaptive, dynamic
        self.route_free_success: float | None = None
        self._fade, self._rl, self._seed = config.fade, config.training.rl, seed
        self._best = (config.reward.format + config.reward.answer + config.reward.scores) or 1.0
        self._keys = {question.id: self._key(question) for question in questions.values()}
        # Fixed and in one order: every process adds up equal tensors.
        self._success: dict[str, float | None] = dict.fromkeys(sorted(set(self._keys.values())))
        self._domains: dict[str, list[str]] = {kind: [] for kind in _kinds(questions)}
        for question in questions.values():
            self._domains[question.kind].append(question.id)
        self._rewards: dict[str, float | None] = dict.fromkeys(self._domains)
        self._asked = dict.fromkeys(self._domains, 0)
        self._orders: dict[str, list[str]] = {}

    def _key(self, question: Question) -> str:
        return {"global": "", "kind": question.kind, "difficulty": str(question.difficulty)}[self._fade.per]

    # What the next batch is made with

    def success(self, question_id: str) -> float | None:
        """Success without routes at the question's key, 0 where nothing is known yet; None unless adaptive."""
        return (self._success[self._keys[question_id]] or 0.0) if self.adaptive else None

    def weights(self) -> dict[str, float]:
        """The probability of each domain; they sum to 1."""
        rl = self._rl
        weights = domain_weights(
            list(self._rewards.values()),
            target=rl.sampler_target,
            temperature=rl.sampler_temperature,
            floor=rl.sampler_floor,
        )
        return dict(zip(self._domains, weights, strict=True))

    def ask(self, generation: int) -> list[str]:
        """The question id of each row of generated batch number `generation` (from 0) over all processes.

        G rows are a group, a slot of the stage. Its domain is drawn by the weights from (seed, "domain", number of the
        slot); within a domain all questions are asked, in a shuffled order, before one is asked again. To be called
        once a batch, by every process: it counts what has been asked.
        """
        size = self._rl.num_generations
        groups = self._rl.batch_size // size
        domains, weights = list(self._domains), list(self.weights().values())
        asked: list[str] = []
        for slot in range(generation * groups, (generation + 1) * groups):
            (domain,) = rng(self._seed, "domain", slot).choices(domains, weights)
            asked += [self._next(domain)] * size
        return asked

    def _next(self, domain: str) -> str:
        """The next question of the domain; in another order each time all of them have been asked."""
        ids = self._domains[domain]
        lap, place = divmod(self._asked[domain], len(ids))
        if place == 0 or domain not in self._orders:
            self._orders[domain] = question_order(ids, len(ids), derive(self._seed, "lap", domain, lap))
        self._asked[domain] += 1
        return self._orders[domain][place]

    def figures(self) -> dict[str, float]:
        """What the next batch is made with, by the names that the trainer logs."""
        found: dict[str, float] = {}
        if self.adaptive and self.route_free_success is not None:
            found["route_free_success"] = self.route_free_success
        if self.dynamic:
            found |= {f"domain_weights/{domain}": weight for domain, weight in self.weights().items()}
        return found

    # What is learned of a batch

    def count(self, groups: Sequence[Group]) -> list[int]:
        """What to add up over the processes, two numbers a key: right and all answers of groups without routes for each
        key of success, then rewards (in parts of the highest) and completions of all groups for each domain.

        Completions whose verifier failed are left out: nobody knows what they are worth.
        """
        alone = {key: [0, 0] for key in self._success}
        earned = {domain: [0, 0] for domain in self._domains}
        for group in groups:
            known = [item for item in group.scored if not item.verifier_failed]
            if not group.routes:
                _add(alone[self._keys[group.question.id]], sum(item.correct for item in known), len(known))
            parts = sum(round(item.reward.total / self._best * _PARTS) for item in known)
            _add(earned[group.question.kind], parts, len(known))
        return [number for pair in (*alone.values(), *earned.values()) for number in pair]

    def learn(self, counts: Sequence[int]) -> None:
        """Move the averages by the counts of one batch over all processes (see `count`); an empty key keeps its own."""
        pairs = list(zip(counts[::2], counts[1::2], strict=True))
        alone, earned = pairs[: len(self._success)], pairs[len(self._success) :]
        for key, (right, all_) in zip(self._success, alone, strict=True):
            if all_:
                self._success[key] = moving_average(self._success[key], right / all_, self._fade.memory)
        right, all_ = (sum(pair[i] for pair in alone) for i in (0, 1))
        if all_:
            self.route_free_success = moving_average(self.route_free_success, right / all_, self._fade.memory)
        for domain, (parts, all_) in zip(self._domains, earned, strict=True):
            if all_:
                reward = parts / _PARTS / all_
                self._rewards[domain] = moving_average(self._rewards[domain], reward, self._rl.sampler_memory)

    def take(self, found: Any) -> None:
        """Raises as `Remembering.take`, where it is of other questions too."""
        if {name: sorted(found[name]) for name in ("success", "rewards", "asked")} != {
            name: sorted(part) for name, part in self.state().items() if isinstance(part, dict)
        }:
            raise ValueError("it is of questions of other kinds or difficulties")
        self.route_free_success = found["route_free_success"]
        self._success = {key: found["success"][key] for key in self._success}
        self._rewards = {domain: found["rewards"][domain] for domain in self._rewards}
        self._asked = {domain: found["asked"][domain] for domain in self._asked}
        self._orders = {}

    def state(self) -> dict[str, Any]:
        return {
            "route_free_success": self.route_free_success,
            "success": self._success,
            "rewards": self._rewards,
            "asked": self._asked,
        }


def make_feedback(config: Config, questions: Mapping[str, Question], seed: int, *, k: int) -> Feedback | None:
    """The feedback that the configuration asks for; None where nothing depends on any.

    Dynamic sampling of questions of one kind is even sampling; that is said once.

    Args:
        k: routes per prompt before fading; without any there is nothing to fade.
    """
    adaptive = k > 0 and make_schedule(config).follows
    dynamic = config.training.rl.sampler == "dynamic"
    if dynamic and len(_kinds(questions)) < 2:
        _say("training.rl.sampler: dynamic has nothing to choose between, the questions are of one `kind`; it is even.")
        dynamic = False
    if not (adaptive or dynamic):
        return None
    return Feedback(config, questions, seed, adaptive=adaptive, dynamic=dynamic)


def _kinds(questions: Mapping[str, Question]) -> list[str]:
    return sorted({question.kind for question in questions.values()})


def _add(pair: list[int], first: int, second: int) -> None:
    pair[0] += first
    pair[1] += second


@functools.cache
def _say(message: str) -> None:
    if main_process():
        logger.warning(message)
