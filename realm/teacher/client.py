"""The talking to an OpenAI-compatible endpoint: the `openai` client, bounded in time and size, and quiet about keys.

Imports the client's libraries, so it is imported where an endpoint is asked and not before.
"""

import asyncio
import errno
import functools
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from realm.teacher.base import Failure
from realm.teacher.outcomes import Answer, Scrub, one_line

#: Bytes that a response has at most, where nothing else is said.
BODY_LIMIT = 16 << 20
#: Seconds an idle connection is kept: less than the 5 seconds after which common servers close theirs.
_IDLE = 4.0
#: A pool of connections looks at each of them for every request, so that one large pool is slow (a third of the speed
#: at 1024 requests under way); from so many requests on a further pool is opened, up to so many pools.
_FILL, _POOLS = 32, 32
_TLS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "certificate verify failed")


@dataclass
class _Pool:
    openai: openai.AsyncOpenAI
    busy: int = 0


class Client:
    """Connections to one endpoint.

    Args:
        base_url: without a trailing `/chat/completions`.
        key: "" sends no authorisation at all.
        timeout: seconds that a request may take in all, however slowly its answer drips in.
        scrub: takes the key out of texts.
        limit: bytes of a response beyond which nothing is read.
    """

    def __init__(self, base_url: str, key: str, timeout: float, scrub: Scrub, limit: int = BODY_LIMIT) -> None:
        self._base_url, self._key, self._timeout, self._scrub = base_url, key, timeout, scrub
        self._limit = limit
        omit: Any = openai.Omit()
        # Given outright, so that the environment adds no key, organisation or project of another endpoint.
        self._headers: dict[str, Any] = {"Authorization": f"Bearer {key}" if key else omit}
        if not base_url.startswith("https://api.openai.com/"):
            self._headers |= {"OpenAI-Organization": omit, "OpenAI-Project": omit}
        self._tls = httpx2.create_ssl_context()
        self._pools: list[_Pool] = []

    async def chat(self, body: dict[str, Any]) -> Answer:
        """POST /chat/completions.

        Raises:
            Failure: no whole response came back.
        """
        # The typed method of the client would check every key of every message, which takes longer than all the rest.
        return await self.request("post", "/chat/completions", body)

    async def models(self) -> Answer:
        """GET /models. Raises `Failure` as `chat` does."""
        return await self.request("get", "/models")

    async def close(self) -> None:
        for pool in self._pools:
            await pool.openai.close()

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, file: bytes | None = None
    ) -> Answer:
        """One request and its response, read to the end. `file`: JSONL that is sent with it. Raises as `chat` does."""
        parts: list[bytes] = []
        pool = self._free()
        pool.busy += 1
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    options: Any = {"headers": self._headers}
                    ask: Any = functools.partial(pool.openai.post, body=body) if method == "post" else pool.openai.get
                    if file is not None:
                        options = {"headers": {**self._headers, "Content-Type": "multipart/form-data"}}
                        ask = functools.partial(ask, files=[("file", ("requests.jsonl", file, "application/jsonl"))])
                    response: Any = await ask(
                        path, cast_to=httpx2.Response, options=options, stream=True, stream_cls=openai.AsyncStream[Any]
                    )
                    try:
                        async for part in response.aiter_bytes():
                            parts.append(part)
                    finally:
                        await response.aclose()
                    answer = Answer(response.status_code, response.headers, b"".join(parts))
                except openai.APIStatusError as error:
                    answer = Answer(error.response.status_code, error.response.headers, error.response.content)
        except TimeoutError:
            message = f"no whole answer within {self._timeout:g} s"
            raise Failure("timeout", message, billed=True, body=self._text(parts)) from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            raise self._broken(error, parts) from None
        finally:
            pool.busy -= 1
        if len(answer.body) >= self._limit:
            message = f"the answer is longer than {self._limit >> 20} MiB"
            raise Failure("too_large", message, kind="request", billed=True, body=self._text(parts))
        return answer

    def _free(self) -> _Pool:
        """The pool with the fewest requests under way; a new one where each has its fill."""
        pool = min(self._pools, key=lambda pool: pool.busy, default=None)
        if pool is None or (pool.busy >= _FILL and len(self._pools) < _POOLS):
            pool = _Pool(self._connect())
            self._pools.append(pool)
        return pool

    def _connect(self) -> openai.AsyncOpenAI:
        try:
            http = httpx2.AsyncClient(
                timeout=None,  # `timeout` holds for the whole request instead
                follow_redirects=False,  # a redirect is a wrong base_url, and would carry the prompt elsewhere
                # Whoever calls bounds how many requests are under way; none of them waits for a connection here.
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE),
                trust_env=not is_local(self._base_url),  # a proxy for the outside world does not reach 127.0.0.1
                verify=self._tls,
                event_hooks={"response": [self._bound]},
            )
        except (ImportError, ValueError) as error:
            said = self._scrub(one_line(str(error), 200))
            message = (
                f"the proxy of ALL_PROXY, HTTPS_PROXY or HTTP_PROXY cannot be used ({said}); mend or unset it, or, for "
                "socks5://, pip install socksio"
            )
            raise Failure("proxy", message, kind="fatal") from None
        return openai.AsyncOpenAI(
            api_key=self._key,
            admin_api_key="",
            base_url=self._base_url,
            max_retries=0,
            timeout=None,
            default_headers={**self._headers, "Accept-Encoding": "identity"},
            http_client=http,
        )

    async def _bound(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, self._limit)

    def _broken(self, error: Exception, parts: list[bytes]) -> Failure:
        """The failure behind an exception of the libraries."""
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
        said = self._scrub(one_line(str(cause) or type(cause).__name__, 200))
        if parts:
            message = f"the connection was lost in the middle of the answer ({said})"
            return Failure("half_body", message, billed=True, body=self._text(parts))
        if isinstance(cause, httpx2.DecodingError):
            return Failure("not_json", f"the answer cannot be decoded ({said})", billed=True)
        if _out_of_files(cause):
            message = "this process may open no further file; lower collect.concurrency or raise the limit (ulimit -n)"
            return Failure("files", message, kind="fatal")
        if isinstance(cause, httpx2.ConnectError):
            never = any(mark in str(cause) for mark in _TLS)
            advice = "; check the base_url (http or https?) and the certificate" if never else ""
            message = f"cannot connect to the endpoint ({said}){advice}"
            return Failure("connection", message, kind="fatal" if never else "transient")
        return Failure("connection", f"the connection was lost before an answer ({said})", billed=True)

    def _text(self, parts: list[bytes]) -> str:
        return self._scrub(b"".join(parts)[: Failure.BODY_LIMIT].decode("utf-8", "replace"))


def _out_of_files(error: BaseException | None) -> bool:
    """Whether the process (or the machine) had no file descriptor left for a connection."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_out_of_files, error.exceptions))
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return True
    return error is not None and _out_of_files(error.__cause__ or error.__context__)


def is_local(base_url: str) -> bool:
    """Whether the endpoint is on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _Bounded(httpx2.AsyncByteStream):
    """The first `limit` bytes of a body, error bodies included, which the openai client reads whole."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream, self._limit = stream, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for part in self._stream:
            yield part[:left]
            left -= len(part)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
