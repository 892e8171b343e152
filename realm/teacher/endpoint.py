"""A teacher behind an OpenAI-compatible endpoint: vLLM, Ollama, a vendor's, or `transformers serve`.

One request is one sample. Trying again is the collector's part: every call is one request and gives a `Reply` or
raises a `Failure`, never an exception of the libraries underneath.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from realm.errors import ConfigError, TeacherError
from realm.sections import TeacherConfig
from realm.tasks.base import Comment, Question
from realm.teacher.base import Ask, Failure, Messages, Reply, Wanted
from realm.teacher.complaints import advice
from realm.teacher.outcomes import (
    Answer,
    complaint_of,
    content_scrubber,
    filtered,
    model_names,
    one_line,
    read_reply,
    refusal,
    scrubber,
)
from realm.teacher.prompts import TeacherWording

if TYPE_CHECKING:
    from realm.teacher.client import Client

OPENAI_URL = "https://api.openai.com/v1"
#: Keys of `sampling.extra` that have a setting of their own, or would change what a request gives back.
_OWN_KEYS = ("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stream", "n")


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

    batch = 1
    concurrent = True
    costs: Literal["money"] = "money"

    def __init__(self, name: str, settings: TeacherConfig, timeout: float, wording: TeacherWording) -> None:
        self.name = name
        self._settings = settings
        self._timeout = timeout
        self._wording = wording
        self._model = settings.model or ""
        self._base_url = _base_url(name, settings.base_url)
        self._body = _body(name, settings)
        self._key = _key(name, settings.api_key_env)
        self._scrub, self._clean = scrubber(self._key), content_scrubber(self._key)
        self._client: Client | None = None
        self._listed: asyncio.Task[list[str] | None] | None = None
        # Not the address: a model of the same name elsewhere is the same teacher.
        self.parameters: Any = {"model": self._model, "sampling": settings.sampling.model_dump(mode="json")}
        if settings.shows != "both":  # named where it is not the default, so that banks from before it keep their keys
            self.parameters["shows"] = settings.shows

    def messages(self, question: Question, comments: Sequence[Comment]) -> Messages:
        return self._wording.messages(question, comments)

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One request for the one ask; see `realm.teacher.outcomes` for what becomes of each outcome."""
        (ask,) = asks
        answer = await self._connected().chat({"messages": ask.messages, **self._body})
        try:
            if 200 <= answer.status < 300:
                return [read_reply(answer, self._scrub, self._clean, self._settings.shows)]
            if reply := filtered(answer, self._scrub):
                return [reply]
            raise refusal(answer, self._scrub)
        except Failure as failure:
            await self._advise(answer, failure)
            raise

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

    def _connected(self) -> Client:
        if self._client is None:
            from realm.teacher.client import Client

            self._client = Client(self._base_url, self._key, self._timeout, self._scrub)
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
            shown = ", ".join(self._scrub(one_line(name, 80)) for name in near[:5]) or "none at all"
            return (
                f"the endpoint has no model {self._model!r}; it lists {shown}. Mend teachers.{self.name}.model ({said})"
            )
        if no_model:
            return f"the endpoint has no model {self._model!r}; mend teachers.{self.name}.model ({said})"
        return (
            f"nothing answers at {self._base_url}/chat/completions; mend teachers.{self.name}.base_url, which usually "
            f"ends in /v1, or teachers.{self.name}.model ({said})"
        )

    async def _list_models(self) -> list[str] | None:
        try:
            found = model_names(await self._connected().models())
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
    try:
        json.dumps(sampling.extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: expected what JSON can hold ({error}).") from error
    given = {"temperature": sampling.temperature, "top_p": sampling.top_p, sampling.max_tokens_key: sampling.max_tokens}
    body = {"model": settings.model, **given, **sampling.extra}
    return {key: value for key, value in body.items() if value is not None or key in sampling.extra}
