"""What form of answer a verifier can read, in one sentence for whoever is asked: student and teacher alike."""

from collections.abc import Sequence
from dataclasses import replace

from realm.method.prompt import DEFAULT_WORDING, Wording
from realm.tasks.verify import names


def answer_hint(verifier: str, choices: Sequence[str] = ()) -> str:
    """The sentence for the verifier of that name; "" where any form will do. `choices`: those of `choice`.

    Where each kind of question has its own, all of them are said: who is asked is not told the kind.
    """
    hints = {
        "number": "one number, written in digits",
        "choice": f"one of: {', '.join(choices)}",
        "math": "one mathematical expression in LaTeX, worked out as far as possible",
        "python": "one Python literal",
    }
    found = [hints.get(name, "") for name in dict.fromkeys(names(verifier).values())]
    return f"The answer is {', or '.join(found)}." if all(found) else ""


def hinted_wording(verifier: str, choices: Sequence[str] = ()) -> Wording:
    """The default wording, with a line that says what form of answer the verifier can read."""
    hint = answer_hint(verifier, choices)
    return replace(DEFAULT_WORDING, question=f"{DEFAULT_WORDING.question}\n\n{hint}") if hint else DEFAULT_WORDING
