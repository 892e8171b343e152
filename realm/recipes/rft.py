"""`rft`: rejection sampling fine-tuning, supervised on the distinct right CoTs only (RFT, arXiv 2308.01825).

The paper: sample many CoTs, keep those whose answer is right, drop those that reason alike, fine-tune. There the
student samples; here the CoTs are the bank's, the same that every other recipe sees. Our choices: CoTs are alike where
question and text are equal; and as the paper knows no comments of experts, guided CoTs are not preferred, as the cold
start of realm-r1 and sft+grpo prefers them (`training.sft.guided_first`). What RL adds to being taught those alone is
seen beside the arm `sft-right` of `realm experiment baselines`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realm.recipes import sft

if TYPE_CHECKING:
    from realm.config import Config
    from realm.recipes.stage import Stage

SETTINGS: dict[str, Any] = {"training.sft.taught": "distinct", "training.sft.empty_share": 1.0}


def stages(config: Config) -> list[Stage]:
    return sft.stages(config)
