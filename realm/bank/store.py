"""The bank: a folder with `bank.json` (what it is) and `cots.jsonl` (one CoT a line, only ever appended to)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from realm.errors import DataError, ResourceError
from realm.method.routes import Route

FORMAT = 1
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CoT:
    """One chain of thought of a teacher, with its own final answer and where it came from.

    `label`: 1 right, 0 wrong, None where no verifier could tell (it is never shown to a student). `guided`: expert
    comments were in the teacher's prompt; `comments` holds their ids. `sample`: its number among the CoTs of the
    question. `id` is unique in the bank; empty, it becomes `question_id/teacher/sample`. `meta`: anything else that
    JSON holds (parameters, tokens, seconds, prompt hash).
    """

    question_id: str
    text: str
    answer: str
    label: int | None
    teacher: str = ""
    guided: bool = False
    comments: tuple[str, ...] = ()
    sample: int = 0
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", f"{self.question_id}/{self.teacher}/{self.sample}")

    def route(self) -> Route:
        """The CoT as it is shown to the student. Raises `ValueError` for a CoT without a label."""
        if self.label is None:
            raise ValueError(f"CoT {self.id} has no label")
        return Route(self.id, self.text, self.answer, self.label)


_TYPES: dict[str, tuple[type, ...]] = {
    "question_id": (str,),
    "text": (str,),
    "answer": (str,),
    "label": (int, type(None)),
    "teacher": (str,),
    "guided": (bool,),
    "comments": (list,),
    "sample": (int,),
    "id": (str,),
    "meta": (dict,),
}


def _read_cot(record: Any) -> CoT:
    """A CoT from its JSON object; raises `ValueError` saying what is wrong with it."""
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {type(record).__name__}")
    known = {item.name for item in fields(CoT)}
    for name in sorted(known ^ record.keys()):
        raise ValueError(f"{'unknown' if name in record else 'missing'} key `{name}`")
    for name, kinds in _TYPES.items():
        if not isinstance(record[name], kinds):
            raise ValueError(f"`{name}` is of the wrong type: {type(record[name]).__name__}")
    if record["label"] not in (0, 1, None):
        raise ValueError(f"`label` must be 0, 1 or null, found {record['label']}")
    return CoT(**{**record, "comments": tuple(record["comments"])})


class Bank:
    """Labelled CoTs by question, in memory, and in a folder where `path` is given.

    `Bank()` is an empty bank in memory; `create` and `open` give one that is kept in a folder.
    """

    def __init__(self, info: Mapping[str, Any] | None = None) -> None:
        self.path: Path | None = None
        self.info: dict[str, Any] = {**(info or {}), "format": FORMAT}
        self._cots: dict[str, list[CoT]] = {}
        self._ids: set[str] = set()
        #: Length in bytes of the whole lines of the file; what lies behind is a torn line.
        self._whole = 0

    @classmethod
    def create(cls, path: str | Path, info: Mapping[str, Any] | None = None) -> Bank:
        """A new bank in a folder, made with its parents; `info` (teacher, seed, …) is kept in its `bank.json`.

        Raises `ResourceError` where there is a bank already or nothing can be written.
        """
        bank, path = cls(info), Path(path)
        if (path / "bank.json").exists():
            raise ResourceError(f"{path}: holds a bank already; open it, remove it, or name another folder.")
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
            (path / "cots.jsonl").write_bytes(b"")
            # Last, and by renaming: a folder with bank.json is a whole bank.
            temporary = path / "bank.json.tmp"
            temporary.write_text(json.dumps(bank.info, indent=2) + "\n", encoding="utf-8")
            temporary.replace(path / "bank.json")
        bank.path = path
        return bank

    @classmethod
    def open(cls, path: str | Path) -> Bank:
        """The bank in a folder. A torn last line is left out: it is work still owed, and the next `append` removes it.

        Raises `DataError` where there is no bank, or another line is not a CoT.
        """
        path = Path(path)
        try:
            info = json.loads((path / "bank.json").read_text(encoding="utf-8"))
            content = (path / "cots.jsonl").read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"{path}: expected a bank (bank.json and cots.jsonl, as `realm collect` writes them), "
                f"cannot read it ({reason})."
            ) from error
        found = info.get("format") if isinstance(info, dict) else None
        if found != FORMAT:
            raise DataError(f"{path / 'bank.json'}: expected format {FORMAT}, found {found}; collect the CoTs anew.")
        bank = cls(info)
        bank.path = path
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                _LOG.warning("%s:%d: a torn last line is left out", path / "cots.jsonl", number)
                break
            try:
                bank._add(_read_cot(json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path / 'cots.jsonl'}:{number}: not a CoT: {error}.") from error
            bank._whole += len(line)
        return bank

    def save(self, path: str | Path) -> Bank:
        """A copy of this bank in a new folder; raises as `create` does."""
        copy = Bank.create(path, self.info)
        copy.append(self.all())
        return copy

    def _add(self, cot: CoT) -> None:
        if cot.id in self._ids:
            raise ValueError(f"the id {cot.id!r} is in the bank already")
        self._ids.add(cot.id)
        self._cots.setdefault(cot.question_id, []).append(cot)

    def append(self, cots: Iterable[CoT]) -> None:
        """Add CoTs one by one, each on disk before the next is asked for, so that an interruption loses none.

        Raises `ValueError` for an id that the bank holds already, `ResourceError` where nothing can be written.
        """
        if self.path is None:
            for cot in cots:
                self._add(cot)
            return
        with _writing(self.path):
            file = (self.path / "cots.jsonl").open("r+b")
            file.truncate(self._whole)
            file.seek(self._whole)
        try:
            for cot in cots:
                self._add(cot)
                # ASCII: text of a model may hold lone surrogates, which UTF-8 cannot.
                line = json.dumps(asdict(cot)).encode("ascii") + b"\n"
                with _writing(self.path):
                    file.write(line)
                    file.flush()
                self._whole += len(line)
        finally:
            with _writing(self.path):
                file.close()

    def cots(self, question_id: str) -> list[CoT]:
        """The CoTs of a question in the order they came; none for a question that the bank does not know."""
        return list(self._cots.get(question_id, ()))

    def routes(self, question_id: str) -> list[Route]:
        """The labelled CoTs of a question as routes."""
        return [cot.route() for cot in self._cots.get(question_id, ()) if cot.label is not None]

    def all(self) -> list[CoT]:
        """Every CoT, question by question."""
        return [cot for cots in self._cots.values() for cot in cots]

    def __len__(self) -> int:
        """Number of CoTs."""
        return len(self._ids)

    def __contains__(self, cot_id: object) -> bool:
        """Whether a CoT of that id is there."""
        return cot_id in self._ids

    def stats(self) -> dict[str, Any]:
        """Counts and error ratios (share of wrong CoTs among the labelled ones; None where there are none).

        `all_right`, `mixed` and `all_wrong` count questions with at least one labelled CoT; `mixed_share` is the
        share of `mixed` among them.
        """
        cots = self.all()
        labels = [{cot.label for cot in group} - {None} for group in self._cots.values()]
        mixed, judged = sum(len(found) == 2 for found in labels), sum(bool(found) for found in labels)
        return {
            "questions": len(self._cots),
            **_counts(cots),
            "all_right": sum(found == {1} for found in labels),
            "mixed": mixed,
            "all_wrong": sum(found == {0} for found in labels),
            "mixed_share": mixed / judged if judged else None,
            "by_guided": _grouped(cots, lambda cot: "guided" if cot.guided else "unguided"),
            "by_teacher": _grouped(cots, lambda cot: cot.teacher),
        }


def _counts(cots: Iterable[CoT]) -> dict[str, Any]:
    labels = [cot.label for cot in cots]
    right, wrong = labels.count(1), labels.count(0)
    return {
        "cots": len(labels),
        "right": right,
        "wrong": wrong,
        "unlabelled": len(labels) - right - wrong,
        "error_ratio": wrong / (right + wrong) if right + wrong else None,
    }


def _grouped(cots: Iterable[CoT], key: Callable[[CoT], str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[CoT]] = {}
    for cot in cots:
        groups.setdefault(key(cot), []).append(cot)
    return {name: _counts(groups[name]) for name in sorted(groups)}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the file system refuses is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot write the bank ({error.strerror or error}); free space or choose another folder."
        ) from error
