"""What was seen before in a stream that is longer than memory: ids, and the questions of rows."""

import hashlib
import sqlite3
from types import TracebackType
from typing import Self


class Register:
    """Names with the number of the row they came in, in a temporary database of the disk that goes with the process."""

    def __init__(self) -> None:
        # Without a name: private, held in memory up to the cache's size, and deleted by SQLite itself.
        self._base = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -32768", "locking_mode = EXCLUSIVE"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.execute("CREATE TABLE ids (id BLOB PRIMARY KEY, row INT) WITHOUT ROWID")
        self._base.execute(
            "CREATE TABLE questions (id BLOB PRIMARY KEY, row INT, content BLOB, next INT) WITHOUT ROWID"
        )
        self._base.execute("BEGIN")

    def add(self, name: str, row: int) -> int | None:
        """Note a name; the row of its first sight where it was there already."""
        key = digest(name)
        try:
            self._base.execute("INSERT INTO ids VALUES (?, ?)", (key, row))
        except sqlite3.IntegrityError:
            return int(self._base.execute("SELECT row FROM ids WHERE id = ?", (key,)).fetchone()[0])
        return None

    def question(self, name: str, row: int, content: str) -> tuple[int, bool, int]:
        """Note a question. Returns the row of its first sight, whether its content was the same there, and the number
        of its next CoT."""
        key, told = digest(name), digest(content)
        found = self._base.execute("SELECT row, content, next FROM questions WHERE id = ?", (key,)).fetchone()
        if found is None:
            self._base.execute("INSERT INTO questions VALUES (?, ?, ?, 0)", (key, row, told))
            return row, True, 0
        return found[0], found[1] == told, found[2]

    def advance(self, name: str, number: int) -> None:
        """Note the number of a question's next CoT."""
        self._base.execute("UPDATE questions SET next = ? WHERE id = ?", (number, digest(name)))

    def close(self) -> None:
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
