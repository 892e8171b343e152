"""An endpoint asked by OpenAI's batch files: many requests in one file, answered within hours for less.

    requests.jsonl ─→ POST /files ─→ batches.jsonl ─→ POST /batches ─→ batches.jsonl ─→ GET /batches/… ─→ GET /files/…

The file's id, with the samples that it asks for, is written down before its batch is begun, and the batch's id as soon
as it is known. A process that goes on after a kill finds the batch by either, and none is begun twice. Which samples
are still to be had from a batch is told by the ledger: those that were sent and have no end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Container, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

from realm.errors import DataError
from realm.files import append_jsonl, read_jsonl
from realm.teacher.base import Ask, Failure, Reply
from realm.teacher.complaints import parse
from realm.teacher.endpoint import EndpointTeacher
from realm.teacher.outcomes import Answer, one_line, refusal
from realm.teacher.pacing import LONGEST
from realm.teacher.plan import shared

if TYPE_CHECKING:
    from realm.teacher.client import Client

#: What the rows of a bank's batches are in.
FILE = "batches.jsonl"
#: Seconds that a file may be on its way, and bytes that it may have.
_TIMEOUT, _LIMIT = 600.0, 1 << 30
#: Tries of a request about files and batches, which cost nothing; a batch that is waited for is asked after for ever.
_TRIES = 6
#: Pages of the endpoint's batches among which one is looked for.
_PAGES = 10
T = TypeVar("T")
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass
class _File:
    """A file at the endpoint: its id, the keys of the samples that each of its requests asks for, and its batch."""

    id: str
    requests: list[list[str]]
    batch: str = ""
    #: Whether its batch may have been begun, by a process that was killed or a request that was lost.
    begun: bool = True


class BatchTeacher:
    """An endpoint that is asked by files.

    Args:
        teacher: the endpoint; it words the requests and reads their answers.
        window: within which the answers are wanted, as `completion_window` has it.
        batch: samples of a file at most.
        path: of the rows that outlive a kill.
        left: keys of the samples that earlier processes sent and that have no end in the ledger.
        pause: seconds before a batch is asked after again, and a failed request tried again, growing to a minute.

    Raises:
        DataError: a row in `path` that is none of ours.
    """

    concurrent = True
    costs: Literal["money"] = "money"

    def __init__(
        self, teacher: EndpointTeacher, window: str, batch: int, path: Path, left: Container[str], pause: float
    ) -> None:
        self.name, self.parameters, self.messages = teacher.name, teacher.parameters, teacher.messages
        self.close = teacher.close
        self.batch = batch
        #: How far the batches are that are waited for.
        self.note = ""
        #: Where the samples are that the endpoint works on, by key.
        self.waiting: dict[str, _File] = {}
        self._teacher, self._window, self._path, self._pause = teacher, window, path, pause
        self._notes: dict[str, str] = {}
        self._read(left)

    @property
    def together(self) -> int:
        return self._teacher.batch

    def _read(self, left: Container[str]) -> None:
        files: dict[str, _File] = {}
        for at, row in enumerate(read_jsonl(self._path) if self._path.exists() else [], start=1):
            try:
                if "batch" in row:
                    files[row["file"]].batch = str(row["batch"])
                    continue
                file = files[row["file"]] = _File(str(row["file"]), [list(map(str, keys)) for keys in row["requests"]])
            except (KeyError, TypeError) as error:
                raise DataError(f"{self._path}:{at}: expected a row of a batch file; mend or remove it.") from error
            self.waiting |= {key: file for keys in file.requests for key in keys if key in left}

    async def ask(self, asks: Sequence[Ask]) -> list[Reply | Failure | None]:
        """Answers of the files that the asks are in; those that are in none go into a new one."""
        try:
            if new := [ask for ask in asks if ask.key not in self.waiting]:
                await self._upload(new)
            found: dict[str, Reply | Failure | None] = {}
            for file in {file.id: file for file in map(self.waiting.__getitem__, (ask.key for ask in asks))}.values():
                found |= await self._answers(file)
        except Failure as failure:
            # Not about any one sample; what this costs is told by the ledger's open rows.
            failure.kind, failure.billed = "fatal", False
            raise
        for ask in asks:
            del self.waiting[ask.key]
        return [found[ask.key] for ask in asks]

    async def _upload(self, asks: Sequence[Ask]) -> None:
        groups: list[list[Ask]] = []
        for ask, further in shared(asks, self.together):
            if further:
                groups[-1].append(ask)
            else:
                groups.append([ask])
        fixed = {"method": "POST", "url": "/v1/chat/completions"}
        rows = ({"custom_id": group[0].key, **fixed, "body": self._teacher.body(group)} for group in groups)
        content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        answer = await self._insist(lambda: self._whole("post", "/files", {"purpose": "batch"}, content))
        file = _File(_id(_json(answer)), [[ask.key for ask in group] for group in groups], begun=False)
        append_jsonl(self._path, {"file": file.id, "requests": file.requests})
        self.waiting |= {ask.key: file for ask in asks}

    async def _answers(self, file: _File) -> dict[str, Reply | Failure | None]:
        """What came of every sample of a file, when its batch has ended."""
        if not file.batch:
            file.batch = await self._begin(file)
            append_jsonl(self._path, {"file": file.id, "batch": file.batch})
        batch = await self._ended(file.batch)
        status = str(batch.get("status"))
        if status == "failed":  # as a whole, before any of it was asked
            for key in (key for keys in file.requests for key in keys):
                self.waiting.pop(key, None)
            why = self._said(batch.get("errors"))
            few = "where too much is queued, lower batch_samples and collect.concurrency"
            raise Failure("batch", f"the batch {self._said(file.batch)} failed: {why}; {few}")
        found: dict[str, Reply | Failure | None] = {}
        for name in ("output_file_id", "error_file_id"):
            if isinstance(id := batch.get(name), str) and id:
                path = f"/files/{quote(id, '')}/content"
                answer = await self._insist(partial(self._whole, "get", path))
                found |= await self._lines(answer.body, file)
        unmet: dict[str, Failure | None] = {
            "expired": None,
            "cancelled": Failure("cancelled", "the batch was cancelled at the endpoint", kind="request"),
        }
        missing = unmet.get(status, Failure("missing", "the batch has no line for the request", billed=True))
        return {key: found.get(key, missing) for keys in file.requests for key in keys}

    async def _begin(self, file: _File) -> str:
        """The id of the file's batch, which is begun unless it was before."""

        async def begin() -> str:
            if file.begun and (there := await self._find(file)):
                return there
            file.begun = True
            body = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": self._window}
            return _id(_json(await self._whole("post", "/batches", body)))

        return await self._insist(begin)

    async def _find(self, file: _File) -> str:
        """The id of the batch that was begun with a file, "" where there is none."""
        after = ""
        for _ in range(_PAGES):
            page = _json(await self._whole("get", f"/batches?limit=100{after}"))
            rows = [row for row in page.get("data") or () if isinstance(row, dict)]
            for row in rows:
                if row.get("input_file_id") == file.id:
                    return _id(row)
            if not page.get("has_more") or not rows:
                return ""
            after = f"&after={quote(_id(rows[-1]), '')}"
        return ""

    async def _ended(self, batch: str) -> dict[str, Any]:
        pause = self._pause
        while True:
            try:
                found = _json(await self._whole("get", f"/batches/{quote(batch, '')}"))
            except Failure as failure:
                if failure.kind != "transient":
                    raise
                found = {"status": failure.message}
            if found.get("status") in _ENDED:
                self._tell(batch, "")
                return found
            counts = found.get("request_counts")
            done = f"{counts.get('completed')} of {counts.get('total')} answered, " if isinstance(counts, dict) else ""
            self._tell(batch, f"batch {batch}: {done}{found.get('status')}")
            await asyncio.sleep(pause)
            pause = min(LONGEST, 2 * pause)

    def _tell(self, batch: str, note: str) -> None:
        self._notes[batch] = self._said(note)
        self.note = "; ".join(filter(None, self._notes.values()))

    async def _lines(self, content: bytes, file: _File) -> dict[str, Reply | Failure | None]:
        """What the lines of an output or error file say of each sample."""
        groups = {keys[0]: keys for keys in file.requests}
        found: dict[str, Reply | Failure | None] = {}
        for line in content.splitlines():
            row = parse(line.decode("utf-8", "replace"))
            keys = groups.get(str(row.get("custom_id"))) if isinstance(row, dict) else None
            if keys is not None:
                found |= zip(keys, await self._line(row, len(keys)), strict=True)
        return found

    async def _line(self, row: dict[str, Any], wanted: int) -> Sequence[Reply | Failure | None]:
        response, error = row.get("response"), row.get("error")
        code = str(error.get("code")) if isinstance(error, dict) else ""
        if code == "batch_expired":
            return [None] * wanted
        status = response.get("status_code") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not isinstance(status, int):
            kind: Literal["request", "transient"] = "request" if code == "batch_cancelled" else "transient"
            return [Failure(self._said(code) or "error", self._said(error), kind=kind)] * wanted
        answer = Answer(status, {}, json.dumps(response.get("body")).encode())
        try:
            return await self._teacher.read(answer, wanted)
        except Failure as failure:
            return [failure] * wanted

    # ------------------------------------------------------------------ talking

    async def _insist(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the call gives, which is tried again where it fails for a passing reason."""
        for tries in range(_TRIES):
            try:
                return await call()
            except Failure as failure:
                if failure.kind != "transient" or tries + 1 == _TRIES:
                    raise
                await asyncio.sleep(max(failure.retry_after or 0, self._pause * 2**tries))
        raise AssertionError

    async def _whole(self, method: str, path: str, body: dict[str, Any] | None = None, file: Any = None) -> Answer:
        """A response of status 2xx; raises `Failure` for any other."""
        client: Client = self._teacher.connected(timeout=_TIMEOUT, limit=_LIMIT)
        answer = await client.request(method, path, body, file)
        if not 200 <= answer.status < 300:
            failure = refusal(answer, self._teacher.scrub)
            failure.message = f"{method.upper()} {path.partition('?')[0]} (for `batch`): {failure.message}"
            failure.args = (failure.message,)
            raise failure
        return answer

    def _said(self, value: Any) -> str:
        return self._teacher.scrub(one_line(value if isinstance(value, str) else json.dumps(value)))


def _json(answer: Answer) -> dict[str, Any]:
    found = parse(answer.body.decode("utf-8", "replace"))
    if not isinstance(found, dict):
        raise Failure("not_json", "the endpoint's answer about a file or batch is no JSON object")
    return found


def _id(row: dict[str, Any]) -> str:
    if not isinstance(found := row.get("id"), str) or not found:
        raise Failure("shape", "expected a file or batch with its id, found none", kind="fatal")
    return found
