"""A teacher behind an OpenAI-compatible endpoint: vLLM, Ollama, a vendor's, or `transformers serve`.

One request is one prompt, with one sample or several. Trying again is the collector's part: every call is one request
and gives a `Reply` or a `Failure` for each sample, never an exception of the libraries underneath.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from realm.errors import ConfigError, TeacherError
from realm.sections import TeacherConfig
from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Failure, Messages, Reply, Wanted
from realm.teacher.complaints import advice
from realm.teacher.doubts import Doubts, loaded_context, of_ollama
from realm.teacher.outcomes import (
    Answer,
    complaint_of,
    content_scrubber,
    filtered,
    model_names,
    one_line,
    read_replies,
    refusal,
    scrubber,
)
from realm.teacher.prompts import TeacherWording

if TYPE_CHECKING:
    from realm.teacher.client import Client

_LOG = logging.getLogger(__name__)
OPENAI_URL = "https://api.openai.com/v1"
#: Keys of `sampling.extra` that have a setting of their own, or would change what a request gives back.
_OWN_KEYS = ("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stream", "n")
#: Keys that people take over from calls of the `openai` client.
_CLIENT_KEYS = ("extra_body", "extra_headers", "extra_query")
#: Keys of a seed (Mistral: random_seed).
_SEEDS = ("seed", "random_seed")
#: Failures that say nothing about asking for several samples at once.
_UNTRIED = frozenset({"429", "503", "connection", "files"})
_LONGER = "raise collect.timeout, or lower collect.concurrency where the server works on few requests at a time"


class EndpointTeacher:
    """A model at an endpoint, asked over HTTP.

    Args:
        name: of the teacher in the bank.
        settings: of the section `teachers`; the key is read from the environment variable they name, here and only
            here.
        timeout: seconds one request may take in all.
        wording: of the prompts; see `realm.teacher.prompts.make_wording`.

    Raises:
        TeacherError: the environment variable of the key is not set, or holds what cannot be a key.
        ConfigError: a `base_url` that is none, or `sampling.extra` with a key that has its own setting.
    """

    concurrent = True
    costs: Literal["money"] = "money"

    def __init__(self, name: str, settings: TeacherConfig, timeout: float, wording: TeacherWording) -> None:
        self.name = name
        #: Samples that one request asks for; one where the endpoint turned out to give no more.
        self.batch = settings.batch_size
        self._several, self._doubted = False, False
        self._settings = settings
        self._doubts, self._looked = Doubts(f"teachers.{name}", settings.sampling), False
        self._timeout = timeout
        self._wording = wording
        self._model = settings.model or ""
        self._base_url = _base_url(name, settings.base_url)
        self._body = _body(name, settings)
        self._key = _key(name, settings.api_key_env)
        self.scrub, self._clean = scrubber(self._key), content_scrubber(self._key)
        self._client: Client | None = None
        self._listed: asyncio.Task[list[str] | None] | None = None
        # Not the address: a model of the same name elsewhere is the same teacher.
        self.parameters: Any = {"model": self._model, "sampling": settings.sampling.model_dump(mode="json")}
        if settings.shows != "both":  # named where it is not the default, so that banks from before it keep their keys
            self.parameters["shows"] = settings.shows

    def messages(self, question: Question, comments: Sequence[Comment]) -> Messages:
        return self._wording.messages(question, comments)

    @property
    def together(self) -> int:
        return self.batch

    async def ask(self, asks: Sequence[Ask]) -> list[Reply | Failure | None]:
        """One request for the asks, which have one prompt; see `realm.teacher.outcomes` for what becomes of each."""
        try:
            answer = await self.connected().chat(self.body(asks))
            found = await self.read(answer, len(asks))
        except Failure as failure:
            if len(asks) > 1 and failure.kind == "transient" and failure.reason not in _UNTRIED:
                self._doubt(failure.message)
            if failure.reason == "timeout":
                failure.message += f"; {_LONGER}"
                failure.args = (failure.message,)
            raise
        if len(asks) == 1 and self._doubted:
            self.batch = self._settings.batch_size
        if not self._looked:
            self._looked = True
            self._doubts.context = await self._context(answer)
        replies = [reply for reply in found if isinstance(reply, Reply)]
        for said in self._doubts.about(asks[0].messages, replies):
            _LOG.warning("%s", said)
        return found

    def body(self, asks: Sequence[Ask]) -> dict[str, Any]:
        """The request for asks of one prompt. A seed that is set goes into the seed of each: the same one for all
        samples of a prompt would make them the same text, wherever an endpoint heeds it."""
        seeds = {
            name: random.Random(f"{self._body[name]} {asks[0].key}").getrandbits(31)
            for name in _SEEDS
            if isinstance(self._body.get(name), int)
        }
        return {"messages": asks[0].messages, **self._body, **seeds, **({"n": len(asks)} if len(asks) > 1 else {})}

    async def read(self, answer: Answer, wanted: int) -> list[Reply | Failure | None]:
        """What came of a request for so many samples. Raises `Failure` where that is the same for all of them."""
        try:
            if 200 <= answer.status < 300:
                replies = read_replies(answer, wanted, self.scrub, self._clean, self._settings.shows)
                if wanted > 1 and replies[1] is None:
                    self._alone("one came")
                elif wanted > 1:
                    self._several, self._doubted = True, False
                return replies
            if reply := filtered(answer, self.scrub):
                # Of the one prompt, so that all of them would be stopped.
                return [reply, *[replace(reply, prompt_tokens=0)] * (wanted - 1)]
            raise refusal(answer, self.scrub)
        except Failure as failure:
            if wanted > 1 and not self._several and failure.kind in ("request", "denied") and not failure.billed:
                self._alone(failure.message)
                return [None] * wanted
            await self._advise(answer, failure)
            raise

    def _doubt(self, why: str) -> None:
        """A request for several failed, perhaps as one would have: ask for one until that works, then once more."""
        if self._doubted:
            self._alone(why)
        elif self.batch > 1 and not self._several:
            self.batch, self._doubted = 1, True

    def _alone(self, why: str) -> None:
        """Ask for one sample a request from now on, unless several have come before."""
        if self.batch > 1 and not self._several:
            self.batch, self._doubted = 1, False
            _LOG.warning(
                "teachers.%s: the endpoint was asked for several answers at once (%s). From now on it is asked for one "
                "at a time, each of which pays for its prompt; batch_size: 1 asks so from the start.",
                *(self.name, why),
            )

    async def _advise(self, answer: Answer, failure: Failure) -> None:
        """Name the setting that helps, and stop at once where no request will work without it."""
        where, complaint, message = f"teachers.{self.name}", complaint_of(answer), failure.message
        if failure.kind == "request" or failure.reason == "error_text":
            sent = {key: value for key, value in self._body.items() if key != "messages"}
            helps = advice(complaint, where, sent)
            if helps is not None:
                message, failure.kind = f"{message}; {helps[0]}", "denied" if helps[1] else failure.kind
            elif complaint.no_model:
                message, failure.kind = await self._misaddressed(complaint.no_model, message), "denied"
            elif failure.reason == "error_text":
                message = f"{message}; check the base_url and {where}.model"
        elif failure.reason == "404":
            message = await self._misaddressed(complaint.no_model, message)
        elif failure.reason == "stream":
            if self._body.get("stream") is False:
                message = f"{message}; the server at the base_url must be told not to"
            else:
                message = f"{message}; set {where}.sampling.extra to {{stream: false}}"
        failure.message = message.replace("the base_url", f"{where}.base_url")
        failure.args = (failure.message,)

    async def close(self) -> None:
        if self._listed is not None:
            self._listed.cancel()
        if self._client is not None:
            await self._client.close()
            self._client = None

    def connected(self, **limits: Any) -> Client:
        """The connections to the endpoint; with other limits (`timeout`, `limit` of `Client`) from the first on."""
        if self._client is None:
            from realm.teacher.client import Client

            self._client = Client(self._base_url, self._key, scrub=self.scrub, **{"timeout": self._timeout, **limits})
        return self._client

    async def _misaddressed(self, no_model: bool, said: str) -> str:
        """Whether the model's name or the address is wrong, as far as the endpoint's list of models tells."""
        if self._listed is None:  # one request, however many samples are refused at once
            self._listed = asyncio.create_task(self._list_models())
        names = await asyncio.shield(self._listed)
        if names is not None and self._model in names:
            return f"{said}, although it lists the model {self._model!r}"
        if names is not None:
            near = sorted(names, key=lambda name: -difflib.SequenceMatcher(None, name[:100], self._model).ratio())
            shown = ", ".join(self.scrub(one_line(name, 80)) for name in near[:5]) or "none at all"
            return (
                f"the endpoint has no model {self._model!r}; it lists {shown}. Mend teachers.{self.name}.model ({said})"
            )
        if no_model:
            return f"the endpoint has no model {self._model!r}; mend teachers.{self.name}.model ({said})"
        return (
            f"nothing answers at {self._base_url}/chat/completions; mend teachers.{self.name}.base_url, which usually "
            f"ends in /v1, or teachers.{self.name}.model ({said})"
        )

    async def _context(self, answer: Answer) -> int | None:
        """The context with which an Ollama runs the model, in tokens; None at another endpoint."""
        if not of_ollama(answer):
            return None
        try:
            running = await self.connected().request("get", f"{self._base_url.removesuffix('/v1')}/api/ps")
        except Failure:
            return None
        return loaded_context(running, self._model)

    async def _list_models(self) -> list[str] | None:
        try:
            found = model_names(await self.connected().models())
        except Failure:
            return None
        return found[:10_000] if found is not None else None


def make_endpoint(wanted: Wanted) -> EndpointTeacher:
    """The kind `openai`."""
    return EndpointTeacher(wanted.name, wanted.settings, wanted.config.collect.timeout, wanted.wording())


def _base_url(name: str, given: str | None) -> str:
    """The address of the endpoint, without a slash at its end."""
    where = f"teachers.{name}.base_url"
    if given is None:
        return OPENAI_URL
    try:
        parts = urlsplit(given.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in given.strip()):
        raise ConfigError(f"{where}: expected an address such as http://127.0.0.1:8000/v1, found {given!r:.100}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not shown: it is where people put keys.
        raise ConfigError(
            f"{where}: expected an address without user, query (?…) and fragment (#…); a key goes into the "
            f"environment variable that teachers.{name}.api_key_env names."
        )
    url = given.strip().rstrip("/")
    if url.endswith("/chat/completions"):
        raise ConfigError(f"{where}: expected it without /chat/completions at its end, which is added.")
    return url


def _key(name: str, variable: str | None) -> str:
    """The key of the endpoint, "" where it needs none."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise TeacherError(
            f"teachers.{name}: the environment variable {variable} is not set or empty; put the endpoint's key there, "
            f"name another one in teachers.{name}.api_key_env, or set `api_key_env: null` for an endpoint without key."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise TeacherError(
            f"teachers.{name}: the environment variable {variable} does not hold a key: it has white space or "
            "characters that no key has; set it again."
        )
    return key


def _body(name: str, settings: TeacherConfig) -> dict[str, Any]:
    """The sampling parameters of every request."""
    sampling = settings.sampling
    where = f"teachers.{name}.sampling.extra"
    # Some servers stream unless they are told not to.
    own = [key for key in _OWN_KEYS if key in sampling.extra and (key, sampling.extra[key]) != ("stream", False)]
    if own:
        raise ConfigError(
            f"{where}: `{own[0]}` has no place there, it is set elsewhere or by the collector; remove it."
        )
    if clients := [key for key in _CLIENT_KEYS if key in sampling.extra]:
        # Sent as it is, servers such as vLLM pass over it without a word.
        raise ConfigError(
            f"{where}: `{clients[0]}` is an argument of the Python client, not of the endpoint; what is in an "
            "extra_body stands here itself."
        )
    try:
        json.dumps(sampling.extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: expected what JSON can hold ({error}).") from error
    given = {"temperature": sampling.temperature, "top_p": sampling.top_p, sampling.max_tokens_key: sampling.max_tokens}
    body = {"model": settings.model, **given, **sampling.extra}
    return {key: value for key, value in body.items() if value is not None or key in sampling.extra}
