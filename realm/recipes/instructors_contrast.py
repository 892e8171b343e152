"""`instructors-contrast`: as `instructors`, but the teacher sees a right response beside the student's error.

The paper (LLMs-as-Instructors, arXiv 2407.00497) calls it learning from error by contrast. Our choices are those of
`instructors`, and one more: the right response is a positive CoT of the bank, so that this recipe needs the bank's
teacher tokens besides its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.recipes import instructors

if TYPE_CHECKING:
    from realm.config import Config
    from realm.recipes.stage import Stage

SETTINGS: dict[str, Any] = {**instructors.SETTINGS, "training.sft.taught": "contrast"}


def stages(config: Config) -> list[Stage]:
    return instructors.stages(config)
