"""How far log-probabilities, gradients and rollouts are from the truth, on TRL's path and on ours, in float32 and bf16.

    OMP_NUM_THREADS=1 python benchmarks/exact.py [--device cuda] [--prompt 400] [--completion 64] [--group 4]

Two groups, the prompt of one half as long as the other's, with the completions that our loop samples for them. The
truth is TRL's path with the same weights in the next wider type: float64 for float32, float32 for bf16. `TRL` and
`update` are the largest difference of a log-probability from it in the update, `rollout` that of the log-probabilities
which our loop samples with; the gradients' are norms of the difference, in the norm of the true one. It holds where
ours are within `bound`: twice TRL's own, and what is nothing in that type (`NOTHING`). Otherwise it exits with 1.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from common import make_trainer, save, table
from trl.trainer.utils import pad

from realm.student.decode import decode
from realm.student.sampling import Sampling, recording
from realm.training.shared_prefix import take_apart

WIDER = {torch.float32: torch.float64, torch.bfloat16: torch.float32}
NOTHING = {torch.float32: 1e-5, torch.bfloat16: 0.02}
COLUMNS = {"type": "s", "P": "d", "C": "d", "G": "d", "TRL": ".1e", "update": ".1e", "rollout": ".1e", "bound": ".1e",
           "TRL's gradient": ".1e", "gradient": ".1e", "its bound": ".1e", "holds": "d"}  # fmt: skip


def measure(trainer: Any, dtype: torch.dtype, prompt: int, completion: int, group: int) -> dict[str, Any]:
    """The row of one type; the trainer's model is of a wider one afterwards."""
    model = trainer.model.to(dtype).eval()
    source = torch.Generator().manual_seed(prompt)
    prompts = [torch.randint(2, 8192, (length,), generator=source) for length in (prompt, prompt // 2)]
    kept = torch.zeros(2 * group, completion)
    pick = recording(Sampling(1.0).pick(range(2 * group), completion), kept)
    said = decode(
        model, [one.tolist() for one in prompts], [group] * 2, pad=0, ends={1}, max_new_tokens=completion, pick=pick
    )
    model.train()
    asked = [one for one in prompts for _ in range(group)]
    parts = (asked, "left"), ([torch.tensor(one) for one in said], "right")
    ids = torch.cat([pad(rows, 0, side) for rows, side in parts], 1).to(model.device)
    mask = torch.cat([pad([torch.ones_like(row) for row in rows], 0, side) for rows, side in parts], 1).to(ids.device)
    width = max(map(len, said))
    if not take_apart(ids, mask, width).pays:
        raise SystemExit("no prompt is shared at this size: take longer prompts, or larger groups")
    valid = mask[:, -width:] == 1
    weights = torch.randn(valid.shape, generator=source).to(ids.device)

    def scored(share: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        trainer._share = share
        trainer.model.zero_grad()
        found = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)[0]
        (found * weights)[valid].sum().backward()
        return found.detach()[valid].double(), [one.grad.clone() for one in trainer.model.parameters()]

    theirs, ours = scored(False), scored(True)
    if refused := [reason for reason in trainer._refused.values() if reason]:
        raise SystemExit(f"prompts are not shared: {refused[0]}")
    trainer.model.to(WIDER[dtype])
    truth = scored(False)

    def largest(found: torch.Tensor) -> float:
        return float((found - truth[0]).abs().max())

    def off(gradients: list[torch.Tensor]) -> float:
        pairs = zip(gradients, truth[1], strict=True)
        far, whole = zip(*((float((g - t).norm()) ** 2, float(t.norm()) ** 2) for g, t in pairs), strict=True)
        return float((sum(far) / sum(whole)) ** 0.5)

    rollout = kept[:, :width].to(ids.device)[valid].double()
    row = {
        "type": str(dtype).removeprefix("torch."), "P": prompt, "C": completion, "G": group,
        "TRL": largest(theirs[0]), "update": largest(ours[0]), "rollout": largest(rollout),
        "TRL's gradient": off(theirs[1]), "gradient": off(ours[1]),
    }  # fmt: skip
    row |= {"bound": 2 * row["TRL"] + NOTHING[dtype], "its bound": 2 * row["TRL's gradient"] + NOTHING[dtype]}
    within = max(row["update"], row["rollout"]) <= row["bound"] and row["gradient"] <= row["its bound"]
    return {**row, "holds": within}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--prompt", type=int, default=400)
    parser.add_argument("--completion", type=int, default=64)
    parser.add_argument("--group", type=int, default=4)
    parser.add_argument("--out", help="name of the file in benchmarks/results")
    options = parser.parse_args()
    shape = options.prompt, options.completion, options.group
    trainer = make_trainer(options.device, *shape[1:])
    rows = []
    for dtype in WIDER:
        rows.append(measure(trainer, dtype, *shape))
        save(options.out or f"exact_{options.device}", rows)
    table("distance from the truth", rows, COLUMNS)
    sys.exit(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    main()
