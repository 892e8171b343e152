"""The kinds of stages: what makes the trainer of each.

Others come as plug-ins, in the group `realm.stages` or by `package.module:attribute`: a function that takes a `Job`.
The rows of their metrics are those of SFT; two such stages, or one and an SFT, need rounds of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from realm.config import Config
from realm.once import Once
from realm.plugins import take
from realm.recipes.stage import Stage
from realm.student.renderer import Renderer
from realm.tasks.workers import VerifierPool
from realm.traces.base import Given
from realm.traces.examples import Example
from realm.training.recorder import Recorder

#: Those of this package: where the function is.
KINDS = {
    "sft": "realm.training.sft:make_sft",
    "pairs": "realm.training.pairs:make_pairs",
    "rl": "realm.training.grpo:make_rl",
}


@dataclass(frozen=True)
class Job:
    """What a stage is made of.

    Attributes:
        model: with which it begins.
        given: for steps, weighs and miners, its students among it.
        examples: those of SFT that were made while the run was prepared.
        output: folder of its checkpoints.
        kept: file for what its steps make, where that is more than a function of the bank.
        record: makes the callback that writes its rows; takes `tokens`, of the examples up to a step, or a `reward`.
    """

    config: Config
    stage: Stage
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    given: Given
    pool: VerifierPool
    examples: Once[list[Example]]
    output: str
    kept: Path
    record: Callable[..., Recorder]


#: Makes the trainer of a stage.
Maker = Callable[[Job], Trainer]


def find_kind(name: str) -> Maker:
    """What makes the trainers of a kind of stage.

    Raises:
        ConfigError: there is none of that name.
    """
    found: Maker = take("stages", name, f"the recipe's stage {name}")
    return found
