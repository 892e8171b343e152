"""Reading the files of a run: every row is checked, and one that does not fit is a complaint with file, line and field.

It is an error where a run rests on the file, a note where it is only reported on. A last line without its newline is a
write under way or torn by a kill, and is passed over in silence.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from realm.display import printable
from realm.errors import DataError
from realm.rows.base import STAGES, Place, Row
from realm.rows.run import LaterError
from realm.rows.training import PairsStep, RlStep, SftStep, Step

R = TypeVar("R", bound=Row)


#: What checks the rows of each kind, made when it is first needed.
_READERS: dict[object, TypeAdapter[Any]] = {}


def _reader(kind: type[Row]) -> TypeAdapter[Any]:
    if kind not in _READERS:
        steps: Any = Annotated[SftStep | PairsStep | RlStep, Field(discriminator="stage")]
        _READERS[kind] = TypeAdapter(steps if kind is Step else kind)
    return _READERS[kind]


def read_rows(folder: Path, kind: type[R], notes: list[str] | None = None) -> Iterator[R]:
    """The rows of a run's file of this kind, one by one; none where it was never written.

    Args:
        notes: where one line tells of the rows that do not fit and were left out: how many, and what is wrong with the
            first. None makes the first an error.

    Raises:
        DataError: without `notes`, the file cannot be read, or a row does not fit.
    """
    return (row for _, row in _lines(folder / kind.FILE, kind, notes))


def read_places(path: Path) -> Iterator[tuple[str, Place]]:
    """Every line as it is, with its newline, and where in the run it belongs; errors as of `read_rows`."""
    for line, place in _lines(path, Place, None):
        yield line.rstrip(b"\n").decode() + "\n", place


def _lines(path: Path, kind: type[R], notes: list[str] | None) -> Iterator[tuple[bytes, R]]:
    read = _reader(kind).validate_json
    bad, first = 0, ""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = read(line, strict=True)
                except ValidationError as error:
                    said = _wrong(error)
                    if said is None and not line.endswith(b"\n"):
                        continue
                    said = said or "expected one JSON object on the line"
                    if notes is None:
                        raise DataError(f"{path}:{number}: {said}; remove or mend it.") from error
                    bad, first = bad + 1, first or f"line {number}: {said}"
                else:
                    yield line, row
    except FileNotFoundError:
        return
    except OSError as error:
        _tell(notes, path, f"cannot read ({error.strerror or error})", error)
    if bad:
        left = "1 unreadable line was left out" if bad == 1 else f"{bad} unreadable lines were left out, the first"
        _tell(notes, path, f"{left}, {first}")


def read_row(folder: Path, kind: type[R], notes: list[str] | None = None) -> R | None:
    """The one row of a file that is a single object; None where it is missing or, told in `notes`, does not fit.

    Raises:
        DataError: it was written by a later version, whose rows would be misread; or as `read_rows`.
    """
    path = folder / kind.FILE
    try:
        row: R = _reader(kind).validate_json(path.read_bytes(), strict=True)
        return row
    except FileNotFoundError:
        return None
    except OSError as error:
        _tell(notes, path, f"cannot read ({error.strerror or error})", error)
    except ValidationError as error:
        _tell(notes, path, _wrong(error) or "expected one JSON object", error)
    except LaterError as error:
        raise DataError(f"{path}: {error}") from error
    return None


def _tell(notes: list[str] | None, path: Path, said: str, error: Exception | None = None) -> None:
    if notes is None:
        raise DataError(f"{path}: {said}.") from error
    notes.append(f"{path.parent.name}/{path.name}: {said}.")


def _wrong(error: ValidationError) -> str | None:
    """The first field that does not fit, and why; None where the whole is no JSON object."""
    found = error.errors(include_url=False, include_input=False)[0]
    if found["type"] == "json_invalid" or (not found["loc"] and "discriminator" not in found.get("ctx", {})):
        return None
    loc = found["loc"][found["loc"][:1] in [(stage,) for stage in STAGES] :]
    where = ".".join(map(str, loc)) or "stage"
    return printable(f"{where}: {found['msg'][0].lower()}{found['msg'][1:]}", 200)
