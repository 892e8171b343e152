"""`realm export verl`: on the same completions verl's loss, as exported, is the loss of our own trainer, TRL's.

verl's side is its formula restated below, which needs no verl; where verl is installed its own functions are held
against the restatement. TRL's side is TRL's own code. Gradients are those of the log-probabilities.
"""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.testing import assert_close

from realm.config import Config
from realm.training.verl_export import verl_config, without_counterpart
from tests.tiny import CONTEXT, LENGTH, tiny_config, tiny_trainer

needs_verl = pytest.mark.skipif(importlib.util.find_spec("verl") is None, reason="verl is not installed")
Batch = dict[str, torch.Tensor]


def verl_loss(actor: dict[str, Any], batch: Batch, sequences: int, tokens: int) -> torch.Tensor:
    """A micro-batch's loss by verl 0.9.1: `ppo_loss` of verl/workers/utils/losses.py, `compute_policy_loss_vanilla`,
    `kl_penalty` and `agg_loss` of verl/trainer/ppo/core_algos.py, and the defaults of trainer/config/actor/actor.yaml.

    Args:
        sequences: completions of the whole batch (verl's global_batch_size).
        tokens: of these completions (verl's batch_num_tokens).
    """
    actor = {"clip_ratio_c": 3.0, "loss_scale_factor": None, "kl_loss_type": "low_var_kl"} | actor
    mask, advantages = batch["mask"], batch["advantages"].unsqueeze(-1)
    ratio = (batch["logps"] - batch["old"]).clamp(-20, 20).exp()
    clipped = ratio.clamp(1 - actor["clip_ratio_low"], 1 + actor["clip_ratio_high"])
    losses = torch.maximum(-advantages * ratio, -advantages * clipped)
    losses = torch.where(advantages < 0, torch.minimum(-advantages * actor["clip_ratio_c"], losses), losses)

    def aggregate(each: torch.Tensor) -> torch.Tensor:
        sums = (each * mask).sum(-1)
        match actor["loss_agg_mode"]:
            case "token-mean":
                return sums.sum() / tokens
            case "seq-mean-token-mean":
                return (sums / (mask.sum(-1) + 1e-8)).sum() / sequences
            case "seq-mean-token-sum-norm":
                return sums.sum() / sequences / (actor["loss_scale_factor"] or mask.shape[-1])
        raise AssertionError(actor["loss_agg_mode"])

    loss = aggregate(losses)
    if actor["use_kl_loss"]:
        apart = batch["logps"] - batch["reference"]
        k2, k3 = apart.square() / 2, ((-apart).clamp(-20, 20).exp() + apart.clamp(-20, 20) - 1).clamp(-10, 10)
        kl = {"low_var_kl": k3, "k3+": k2 - k2.detach() + k3.detach()}[actor["kl_loss_type"]]
        loss = loss + actor["kl_loss_coef"] * aggregate(kl)
    return loss


def exported(config: Config) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(verl_config(config, Path("/verl"), CONTEXT))
    return tree


def completions(*, off_policy: bool) -> Batch:
    """Four groups of four, (16, 20): one of a single token, none of `LENGTH`; ratios beyond every bound."""
    source = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    lengths = torch.randint(1, 21, (16,), generator=source)
    lengths[0], lengths[-1] = 1, 20
    logps = noise(16, 20) - 3
    batch = {
        "logps": logps,
        "old": logps - noise(16, 20) if off_policy else logps.clone(),
        "reference": logps - noise(16, 20),
        "advantages": noise(16).index_fill(0, torch.tensor([5]), 0.0),
        "mask": (torch.arange(20) < lengths.unsqueeze(-1)).long(),
    }
    ratio = (batch["logps"] - batch["old"]).exp()[batch["advantages"] < 0]
    assert bool((ratio > 3).any()) is off_policy, "verl's dual clip would act on some"
    return batch


def cut(batch: Batch, size: int) -> list[Batch]:
    """The micro-batches as verl has them, each as wide as its longest completion."""
    return [
        {name: value[:, : int(rows["mask"].sum(-1).max())] if value.ndim > 1 else value for name, value in rows.items()}
        for start in range(0, 16, size)
        for rows in [{name: value[start : start + size] for name, value in batch.items()}]
    ]


def by_verl(config: Config, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    tree = exported(config)["actor_rollout_ref"]
    logps = batch["logps"].clone().requires_grad_()
    sequences, tokens = tree["actor"]["ppo_mini_batch_size"] * tree["rollout"]["n"], int(batch["mask"].sum())
    parts = cut({**batch, "logps": logps}, tree["actor"]["ppo_micro_batch_size_per_gpu"])
    loss = torch.stack([verl_loss(tree["actor"], part, sequences, tokens) for part in parts]).sum()
    loss.backward()
    assert logps.grad is not None
    return loss.detach(), logps.grad


def by_trl(config: Config, batch: Batch, student: Path, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    trainer: Any = tiny_trainer(config, folder, bank=None, k=0)
    trainer.model.train()
    size = config.training.rl.micro_batch_size
    trainer.current_gradient_accumulation_steps = 16 // size
    logps = batch["logps"].clone().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for start in range(0, 16, size):
        rows = slice(start, start + size)
        mask = batch["mask"][rows]
        trainer._get_per_token_logps_and_entropies = lambda *_, found=logps[rows], **__: (found, found.detach(), None)
        loss = loss + trainer._compute_loss(
            trainer.model,
            {
                "prompt_ids": torch.ones(size, 1, dtype=torch.long),
                "prompt_mask": torch.ones(size, 1, dtype=torch.long),
                "completion_ids": torch.ones_like(mask),
                "completion_mask": mask,
                "advantages": batch["advantages"][rows],
                "old_per_token_logps": batch["old"][rows] if config.training.rl.num_iterations > 1 else None,
                "ref_per_token_logps": batch["reference"][rows],
                "num_items_in_batch": batch["mask"].sum(),
            },
        )
    loss.backward()
    assert logps.grad is not None
    return loss.detach(), logps.grad


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("micro", [16, 4])
@pytest.mark.parametrize("loss_type", ["dr_grpo", "grpo", "dapo", "bnpo"])
def test_the_loss_is_that_of_our_own_trainer(
    tmp_path: Path, student: Path, loss_type: str, micro: int, beta: float, iterations: int
) -> None:
    """Value and gradient; where they are not the export has said so."""
    rl = {"loss_type": loss_type, "micro_batch_size": micro, "beta": beta, "num_iterations": iterations}
    config = tiny_config(tmp_path, student, rl={**rl, "shared_prefix": "off"})
    batch = completions(off_policy=iterations > 1)
    ours, ours_gradient = by_trl(config, batch, student, tmp_path)
    theirs, theirs_gradient = by_verl(config, batch)
    same = torch.allclose(ours, theirs) and torch.allclose(ours_gradient, theirs_gradient)
    said = [
        line for line in without_counterpart(config) if line.startswith(("training.rl.loss_type", "training.rl.beta"))
    ]
    assert same is not bool(said), (ours, theirs, said)
    assert bool(said) is ((loss_type, micro) == ("bnpo", 4) or (beta > 0 and iterations > 1))


@pytest.mark.parametrize(
    ("width", "factor", "wanted"),
    [
        (4, None, 0.625),
        (8, None, 0.3125),
        # 2.5 tokens a completion over the most that it may have.
        (4, LENGTH, 2.5 / 24),
        (8, LENGTH, 2.5 / 24),
    ],
)
def test_the_width_that_verl_pads_to_does_not_count(
    tmp_path: Path, student: Path, width: int, factor: int | None, wanted: float
) -> None:
    """Two completions of two and three tokens with a loss of 1 each: verl's default, and what is exported."""
    actor = exported(tiny_config(tmp_path, student, rl={"loss_type": "dr_grpo"}))["actor_rollout_ref"]["actor"]
    assert actor["loss_scale_factor"] == LENGTH
    mask = (torch.arange(width) < torch.tensor([[2], [3]])).long()
    zeros = torch.zeros(2, width)
    batch = {"logps": zeros, "old": zeros, "reference": zeros, "advantages": torch.full((2,), -1.0), "mask": mask}
    assert verl_loss({**actor, "loss_scale_factor": factor}, batch, 2, 5).item() == pytest.approx(wanted)


def test_kl_pulls_as_k2_does(tmp_path: Path, student: Path) -> None:
    """A token of log-ratio 1: k3's value 1/e, k2's gradient 1 (that of k3, verl's default, is 1 - 1/e = 0.632)."""
    actor = exported(tiny_config(tmp_path, student, rl={"beta": 1.0}))["actor_rollout_ref"]["actor"]
    logps = torch.tensor([[-1.0]], requires_grad=True)
    batch = {
        "logps": logps, "old": logps.detach(), "reference": logps.detach() - 1,
        "advantages": torch.zeros(1), "mask": torch.ones(1, 1, dtype=torch.long),
    }  # fmt: skip
    for kind, gradient in (("low_var_kl", 0.6321), (actor["kl_loss_type"], 1.0)):
        loss = verl_loss({**actor, "kl_loss_type": kind}, batch, 1, 1)
        assert loss.item() == pytest.approx(0.3679, abs=1e-4)
        assert torch.autograd.grad(loss, logps)[0].item() == pytest.approx(gradient, abs=1e-4)


@needs_verl
@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("loss_type", ["dr_grpo", "grpo", "dapo", "bnpo"])
def test_the_restatement_is_verls_loss(
    tmp_path: Path, student: Path, loss_type: str, beta: float, iterations: int
) -> None:
    """verl's own `ppo_loss`, under the actor that verl makes of the exported file, and under its defaults."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from tensordict import TensorDict
    from verl.utils.config import omega_conf_to_dataclass
    from verl.utils.tensordict_utils import assign_non_tensor
    from verl.workers.utils.losses import ppo_loss

    config = tiny_config(
        tmp_path,
        student,
        rl={"loss_type": loss_type, "beta": beta, "num_iterations": iterations, "micro_batch_size": 4},
    )
    (tmp_path / "verl.yaml").write_text(verl_config(config, tmp_path, CONTEXT))
    batch = completions(off_policy=iterations > 1)
    ours = {"clip_ratio_c", "loss_scale_factor", "kl_loss_type"}
    defaults = ["clip_ratio_c=3.0", "loss_scale_factor=null", "kl_loss_type=low_var_kl"]
    for overrides in ([], [f"actor_rollout_ref.actor.{item}" for item in defaults]):
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(tmp_path), version_base=None):
            settings = compose("verl", overrides=overrides).actor_rollout_ref.actor
        actor = dict(exported(config)["actor_rollout_ref"]["actor"])
        if overrides:
            actor = {key: value for key, value in actor.items() if key not in ours}
        for part in cut(batch, 4):
            lengths = part["mask"].sum(-1)

            def nested(values: torch.Tensor, lengths: torch.Tensor = lengths) -> torch.Tensor:
                rows = [row[:length] for row, length in zip(values, lengths, strict=True)]
                return torch.nested.as_nested_tensor(rows, layout=torch.jagged)

            # One token of prompt; a log-probability stands where the token before its own is read.
            logps = part["logps"].clone().requires_grad_()
            flat = torch.nn.functional.pad(logps, (0, 1))[torch.nn.functional.pad(part["mask"], (1, 0), value=1) > 0]
            data = TensorDict(
                {
                    "prompts": nested(torch.ones(4, 1, dtype=torch.long), torch.ones(4, dtype=torch.long)),
                    "responses": nested(part["mask"]),
                    "response_mask": nested(part["mask"]),
                    "old_log_probs": nested(part["old"]),
                    "ref_log_prob": nested(part["reference"]),
                    "advantages": nested(part["advantages"].unsqueeze(-1) * part["mask"]),
                },
                batch_size=4,
            )
            tokens = int(batch["mask"].sum())
            assign_non_tensor(data, dp_size=1, batch_num_tokens=tokens, global_batch_size=16)
            theirs, _ = ppo_loss(omega_conf_to_dataclass(settings), {"log_probs": flat}, data)
            ours_logps = part["logps"].clone().requires_grad_()
            restated = verl_loss(actor, {**part, "logps": ours_logps}, 16, tokens)
            assert_close(theirs, restated)
            assert_close(torch.autograd.grad(theirs, logps), torch.autograd.grad(restated, ours_logps))
