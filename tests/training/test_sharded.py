"""A model whose weights are spread over two processes (PyTorch's FSDP2 on gloo) decodes, trains and decodes again.

FSDP2 inside accelerate needs GPUs; these are the parts of a training run of which a CPU can tell.
"""

from pathlib import Path

import pytest

from realm.training.group import sharded
from tests.launched import launch_two

PROGRAM = """
import os
import sys
import torch
import torch.distributed as distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from realm.student.generate import generate
from realm.student.prompts import encode
from realm.student.load import load
from realm.training.published import distance, scores

distributed.init_process_group("gloo")
rank = distributed.get_rank()
prompts = [[{"role": "user", "content": f"{a} plus {b} answer"}] for a in range(3) for b in range(3)]
whole, tokenizer = load(sys.argv[1])
model, _ = load(sys.argv[1])
mesh = init_device_mesh("cpu", (2,))
for part in (*model.model.layers, model):
    fully_shard(part, mesh=mesh)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
ids = torch.arange(12)[None]
losses = []
for step in range(2):
    read = [encode(tokenizer, prompt) for prompt in prompts]
    found = generate(model, tokenizer, read, max_new_tokens=12, batch_size=4)
    if step == 0:
        assert found == generate(whole, tokenizer, read, max_new_tokens=12, batch_size=4)
        assert distance(scores(whole), scores(model)) < 1e-5
    losses.append(model(input_ids=ids, labels=ids).loss)
    losses[-1].backward()
    optimizer.step()
    optimizer.zero_grad()
assert losses[1] < losses[0]
# TRL samples with transformers' generate: a process that is done goes on forwarding until all are.
with torch.no_grad():
    done = model.generate(ids, max_new_tokens=2 if rank == 0 else 12, eos_token_id=None)
assert done.shape[1] == 12 + (2 if rank == 0 else 12)
distributed.barrier()
distributed.destroy_process_group()
os._exit(0)  # threads of gloo that the mesh still holds can abort the interpreter as it exits
"""


@pytest.mark.slow
def test_decode_train_decode(tmp_path: Path, student: Path) -> None:
    launch_two(PROGRAM, tmp_path, student)


@pytest.mark.parametrize(
    ("variables", "stated", "found"),
    [
        ({}, None, False),
        ({"USE_FSDP": "true"}, None, True),
        ({"USE_DEEPSPEED": "true", "DEEPSPEED_ZERO_STAGE": "2"}, None, False),
        ({"USE_DEEPSPEED": "true", "DEEPSPEED_ZERO_STAGE": "3"}, None, True),
        ({"USE_DEEPSPEED": "true"}, '{"zero_optimization": {"stage": 3}}', True),
        ({"USE_DEEPSPEED": "true"}, '{"zero_optimization": {"stage": 2}}', False),
        ({"USE_DEEPSPEED": "true"}, "{}", False),
        ({"USE_DEEPSPEED": "true"}, "[", False),
        ({}, '{"zero_optimization": {"stage": 3}}', False),
    ],
    ids=str,
)
def test_weights_are_known_to_be_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], stated: str | None, found: bool
) -> None:
    """By accelerate's own variables, or by DeepSpeed's file where accelerate only hands that on."""
    if stated is not None:
        (tmp_path / "zero.json").write_text(stated)
        variables = {**variables, "DEEPSPEED_CONFIG_FILE": str(tmp_path / "zero.json")}
    for name, value in variables.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert sharded() is found
