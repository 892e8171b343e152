"""What form of answer a verifier can read, in one sentence for whoever is asked: student and teacher alike."""

from collections.abc import Sequence
from dataclasses import replace

from realm.method.prompt import DEFAULT_WORDING, Wording


def answer_hint(verifier: str, choices: Sequence[str] = ()) -> str:
    """The sentence for the verifier of that name; "" where any form will do. `choices`: those of `choice`."""
    hints = {
        "number": "The answer is one number, written in digits.",
        "choice": f"The answer is one of: {', '.join(choices)}.",
        "math": "The answer is one mathematical expression in LaTeX, worked out as far as possible.",
        "python": "The answer is one Python literal.",
    }
    return hints.get(verifier, "")


def hinted_wording(verifier: str, choices: Sequence[str] = ()) -> Wording:
    """The default wording, with a line that says what form of answer the verifier can read."""
    hint = answer_hint(verifier, choices)
    return replace(DEFAULT_WORDING, question=f"{DEFAULT_WORDING.question}\n\n{hint}") if hint else DEFAULT_WORDING
