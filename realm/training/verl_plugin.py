"""What verl loads of this package: a dataset that renders prompts by step, reward and advantages. Only verl imports it.

The interfaces are those of verl 0.9: `data.custom_cls` names a subclass of its RLHFDataset whose rows carry
`raw_prompt`, `reward_model` and `extra_info`; `reward.custom_reward_function` names a function of (data_source,
solution_str, ground_truth, extra_info) that returns a mapping with `score`, called in threads; and
`algorithm.adv_estimator` one that `register_adv_est` knows in the process that loads the dataset.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from verl.trainer.ppo.core_algos import register_adv_est
from verl.utils.dataset.rl_dataset import RLHFDataset

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.config import Config, load_config
from realm.method.seeds import question_order
from realm.student.prompts import judged, present
from realm.student.renderer import Renderer
from realm.student.scoring import RewardFunction
from realm.tasks.base import Question
from realm.training.verl_export import Exported, ExportedTask, generations, groups_per_step, read_exported


def _config(exported: Exported) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(exported.config, encoding="utf-8")
        return load_config(file)


class RouteDataset(RLHFDataset):
    """verl's dataset over an exported file: item i is what group i of the whole stage is asked.

    Which question and which routes is a function of (seed, i) alone, so that a resumed run, another number of workers
    and our own trainer see the same prompts. A file of held-out questions is asked once through, without routes.
    """

    def _read_files_and_tokenize(self) -> None:
        (file,) = self.data_files
        exported = read_exported(file)
        config = _config(exported)
        table = pq.read_table(file).to_pylist()
        questions = [
            Question(row["extra_info"]["question_id"], row["question"], row["reward_model"]["ground_truth"])
            for row in table
        ]
        bank = Bank()
        for row in table:
            bank.append(
                [
                    CoT(row["extra_info"]["question_id"], item["text"], item["answer"], item["label"], id=item["id"])
                    for item in row["routes"]
                ]
            )
        self._fades = exported.split == "train"
        # Prompts are fitted as verl renders them, which is told by its configuration (data.apply_chat_template_kwargs).
        present(self.tokenizer, config.model)
        task = ExportedTask(exported, config.task.choices, questions)
        k = exported.k if self._fades else 0
        self._renderer = Renderer(config, task, bank, self.tokenizer, exported.context, k=k)
        self._config, self._groups, self._rl = config, groups_per_step(config), config.training.rl
        self._source = f"realm/{exported.task}"
        ids = [question.id for question in questions]
        count = self._groups * generations(config)
        self._order = question_order(ids, count, config.run.seed) if self._fades else ids
        # What verl reads of its own table, besides its length.
        self.dataframe = self._order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, item: int) -> dict[str, Any]:
        question_id = self._order[item]
        step = item // self._groups * self._rl.num_iterations if self._fades else 0
        shown = self._renderer.render(question_id, step, step / self._rl.steps)
        return {
            "data_source": self._source,
            "raw_prompt": shown.messages,
            "reward_model": {
                "style": "rule",
                "ground_truth": self._renderer.questions[question_id].answer,
            },
            "extra_info": {
                "index": item,
                "question_id": question_id,
                "question": self._renderer.questions[question_id].question,
                "step": step,
                "p": shown.p,
                "labels": [route.label for route in judged(self._config, shown.routes)],
            },
            "index": item,
            "tools_kwargs": {},
            "interaction_kwargs": {},
            # A batch of verl must hold some tensor.
            "dummy_tensor": torch.zeros(1, dtype=torch.uint8),
        }


@functools.lru_cache(maxsize=4)
def _rewards(file: str) -> RewardFunction:
    """The reward of an exported run."""
    exported = read_exported(file)
    config = _config(exported)
    return RewardFunction(
        exported.verifier,
        config.task.choices,
        tags=config.prompt.tags(),
        weights=config.reward.weights(),
        rule=config.reward.rule,
        timeout=config.task.verifier_timeout,
        execute=config.prompt.execute,
    )


def compute_score(*args: Any, exported: str, **columns: Any) -> dict[str, float]:
    """`RewardFunction.verl` with verifier, weights and tags of a file that `realm export verl` wrote."""
    return _rewards(exported).verl(*args, **columns)


def advantages(
    scale: str, token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: np.ndarray, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The advantages of TRL's trainer and ours; a group of equal rewards has none, whatever its mean is rounded to.

    Args:
        scale: `training.rl.scale_rewards`: whose deviation divides, that of the `group`, of the `batch` or `none`.
        token_level_rewards: (batch, width); a completion's reward is their sum.
        response_mask: (batch, width), 1 at tokens of the completion.
        index: (batch,), equal within a group.

    Returns:
        Advantages and returns, both (batch, width) and the same.
    """
    rewards = token_level_rewards.sum(-1)
    found = torch.zeros_like(rewards)
    for group in np.unique(index):
        members = torch.from_numpy(index == group).to(rewards.device)
        centred = rewards[members] - rewards[members].mean()
        if not centred.min() < 0 < centred.max():
            continue
        if scale != "none":
            # TRL's ε; verl's own is 1e-6.
            centred = centred / ((rewards if scale == "batch" else rewards[members]).std() + 1e-4)
        found[members] = centred
    found = found.unsqueeze(-1) * response_mask
    return found, found


for _scale in ("group", "batch", "none"):
    register_adv_est(f"realm-{_scale}")(functools.partial(advantages, _scale))
