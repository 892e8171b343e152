"""What form of answer a verifier can read, in one sentence for whoever is asked: student and teacher alike."""

from collections.abc import Sequence
from dataclasses import replace

from realm.method.prompt import DEFAULT_WORDING, EXAMPLES, Example, Wording
from realm.tasks.verify import names

#: Shown with those of `EXAMPLES` whose answers are numbers.
_AGE = Example(
    "Tom is 9 years old. Ann is 4 years younger than Tom. How old is Ann?",
    "Ann is 4 years younger than Tom, so she is 9 - 4 = 5 years old.",
    "5",
)


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
    """The default wording, with a line that says what form of answer the verifier can read, and examples that heed it.

    The line stands in the examples too: small models leave the form where these do not look as the question does.
    """
    hint = answer_hint(verifier, choices)
    if not hint:
        return DEFAULT_WORDING
    found = set(names(verifier).values())
    numbers, chosen = (EXAMPLES[0], _AGE, EXAMPLES[2]), _chosen(choices) if "choice" in found and choices else ()
    examples = chosen if found == {"choice"} else (*numbers[: 3 - len(chosen[:1])], *chosen[:1])
    return replace(DEFAULT_WORDING, question=f"{DEFAULT_WORDING.question}\n\n{hint}", examples=examples)


def _chosen(choices: Sequence[str]) -> tuple[Example, ...]:
    """Examples that are answered by the first or the last of the choices, whatever these are."""
    first, last = choices[0], choices[-1]
    return (
        Example(
            f"Two cards lie on a table. The left one says {last}, the right one says {first}. "
            "What does the left one say?",
            f"The left card says {last}, and the right card says {first}. "
            f"Asked is the left one, so the answer is {last}.",
            last,
        ),
        Example(
            f"Tom picks {first}. Ann picks {last}. Ben picks what Tom picks. What does Ben pick?",
            f"Tom picks {first}. Ben picks what Tom picks, so Ben picks {first}.",
            first,
        ),
        Example(
            f"A sign says {first} in the morning. Each noon it changes, from {first} to {last} or from {last} to "
            f"{first}. What does it say in the evening?",
            f"In the morning the sign says {first}. At noon it changes from {first} to {last}. "
            f"So in the evening it says {last}.",
            last,
        ),
    )
