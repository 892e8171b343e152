"""The page of a run or bank while it grows: drawn anew when its files have changed, served to this machine alone."""

import hashlib
import logging
import os
import re
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

from realm.commands.reporting import page_of
from realm.commands.showing import Showing, silent
from realm.display import printable
from realm.errors import DataError, ResourceError, UserError
from realm.pages.templates import Page

_LOG = logging.getLogger(__name__)
HOST, PORT = "127.0.0.1", 8710
#: Ports that are tried from `PORT` on.
_TRIES = 20
#: A page is drawn at most in this part of the time: whoever trains here needs the processor more.
_SHARE = 0.2
#: Names of this machine in the header `Host`, behind any port: the page may be reached through a tunnel. Another name
#: is that of a page elsewhere whose author has it point here.
_HERE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
#: What pages are made of.
_KINDS = (".json", ".jsonl", ".yaml", ".parquet")


class State(NamedTuple):
    """The newest page, its version, and, where the files as they are now cannot be shown, why."""

    html: bytes
    version: str
    error: str = ""


class View:
    """The page of a folder as it is now.

    Args:
        folder: of a run, of an experiment or of a bank; one that is missing or empty is waited for.
        reading: shows how far the first reading of a bank is.
        share: of the time that drawing may take.

    Raises:
        UserError: the folder holds something of which there is no page.
    """

    def __init__(
        self, folder: Path, reading: Showing[Callable[[int, int], None] | None] = silent, share: float = _SHARE
    ) -> None:
        self._folder, self._share = folder, share
        self._drawing = threading.Lock()
        self._seen, self._rest = self._files(), 0.0
        self._state = self._waiting() if self._empty() else self._drawn(reading)

    def state(self) -> State:
        """Draws where files have changed, at most one page at a time; whoever asks meanwhile gets what there is."""
        if time.monotonic() < self._rest or not self._drawing.acquire(blocking=False):
            return self._state
        try:
            files = self._files()
            if files != self._seen:
                self._seen = files
                try:
                    self._state = self._drawn()
                except (UserError, OSError) as error:
                    self._state = self._state._replace(error=printable(str(error)))
                except Exception as error:
                    _LOG.exception("%s: the page cannot be drawn", self._folder)
                    self._state = self._state._replace(error=printable(f"{type(error).__name__}: {error}"))
            return self._state
        finally:
            self._drawing.release()

    def _drawn(self, reading: Showing[Callable[[int, int], None] | None] = silent) -> State:
        start = time.monotonic()
        version = hashlib.sha256(repr((str(self._folder.resolve()), self._seen)).encode()).hexdigest()[:32]
        try:
            return State(page_of(self._folder, reading=reading).html(version).encode("utf-8", "replace"), version)
        finally:
            end = time.monotonic()
            self._rest = end + (end - start) * (1 / self._share - 1)

    def _waiting(self) -> State:
        name = printable(self._folder.resolve().name, 120)
        context = {"title": name, "subtitle": "waiting for its first row", "contents": []}
        return State(Page("base.html", context, ("browser.js",)).html("waiting").encode("utf-8", "replace"), "waiting")

    def _empty(self) -> bool:
        """Whether nothing is there yet: no folder, nothing but a run's bank in it, or a bank that is being made."""
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return True
        except OSError as error:
            raise DataError(f"{self._folder}: expected the folder of a run or of a bank ({error.strerror}).") from error
        return ".bank.making" in names or all(name == "bank" or name.startswith(".") for name in names)

    def _files(self) -> list[tuple[str, int, int]]:
        """What changes when the page does: names, sizes and times of the files that it is made of."""
        found = []
        try:
            for entry in os.scandir(self._folder):
                if entry.name.endswith(_KINDS) and entry.is_file():
                    known = entry.stat()
                    found.append((entry.name, known.st_size, known.st_mtime_ns))
        except OSError:
            return []  # gone, or changing at this moment: what `draw` says of it counts
        return sorted(found)


class Server(socketserver.ThreadingTCPServer):
    """Serves a view at `http://127.0.0.1:<port>/`, to this machine alone; port 0 is any that is free.

    Raises:
        ResourceError: the port is taken; without a `port`, `PORT` and those after it.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, view: View, port: int | None = None) -> None:
        self.view = view
        for number in range(PORT, PORT + _TRIES) if port is None else [port]:
            try:
                super().__init__((HOST, number), _Handler)
                return
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or str(error)
        raise ResourceError(f"{HOST}:{number}: cannot serve there ({reason}). Name another port with --port.")

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader who has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of `/`, and nothing else: no address leads to a file."""

    server: Server
    timeout = 60
    server_version, sys_version = "realm", ""
    error_message_format, error_content_type = "%(code)d %(message)s\n", "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        if not _HERE.fullmatch(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "Not by this name")
        elif self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._page()

    do_HEAD = do_GET  # noqa: N815 (both names are those of the standard library)

    def _page(self) -> None:
        """The newest page; for whoever has it, why there is no newer one, or nothing."""
        state, asked = self.server.view.state(), self.headers.get("If-None-Match")
        if asked is not None and state.error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, state.error.encode(), "text/plain; charset=utf-8")
        elif asked == f'"{state.version}"':
            self._answer(HTTPStatus.NOT_MODIFIED)
        else:
            self._answer(HTTPStatus.OK, state.html)

    def _answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/html; charset=utf-8") -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not told."""
