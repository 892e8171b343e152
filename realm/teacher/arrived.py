"""An answer on its way into the bank."""

from __future__ import annotations

import json
from dataclasses import dataclass

from realm.bank.cot import CoT, comment_hash, digest
from realm.teacher.base import Reply
from realm.teacher.lanes import Lane
from realm.teacher.ledger import Use
from realm.teacher.plan import Job


@dataclass(frozen=True)
class Arrived:
    """An answer that is not on disk yet; `number` is its request's in the ledger."""

    lane: Lane
    job: Job
    number: int
    reply: Reply
    used: Use
    seconds: float | None

    def cot(self) -> CoT:
        """Its row in the bank, not judged yet."""
        job, reply = self.job, self.reply
        return CoT(
            question_id=job.question.id,
            text=reply.text,
            answer=reply.answer,
            label=None,
            teacher=self.lane.source.name,
            guided=bool(job.comments),
            comments=tuple(map(comment_hash, job.comments)),
            sample=job.number,
            id=job.key,
            problem=reply.problem,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=self.seconds,
            params=self.lane.params,
            prompt=digest(job.messages),
            meta=json.dumps(reply.meta, sort_keys=True) if reply.meta else "",
        )
