"""`synthesizer-rl`: `synthesizer` with GRPO in the place of supervised learning (our variant; see there).

Routes in every prompt to the end, paid for the format and the answer: MRPV without the scores and without the fade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.recipes import mrpv

if TYPE_CHECKING:
    from realm.config import Config
    from realm.recipes.stage import Stage

SETTINGS: dict[str, Any] = {**mrpv.SETTINGS, "prompt.judge": False}


def stages(config: Config) -> list[Stage]:
    return mrpv.stages(config)
