"""The estimate before a run, against what is counted and what is measured."""

import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import tiny_families
from realm.config import Config
from realm.errors import ResourceError
from realm.student.load import load
from realm.student.renderer import Renderer
from realm.training import memory as memory_module
from realm.training import probe as probing
from realm.training.adapters import with_adapters
from realm.training.estimate import Lengths, Outline, estimate, outline, prompt_lengths, sizes
from realm.training.fit import describe, refuse_what_cannot_fit, refuse_what_hardly_fits, size
from realm.training.memory import Memory, group_limits, memory
from realm.training.prepare import prepare
from realm.training.probe import probe
from realm.training.settings import narrow_head
from realm.training.shared_prefix import shared_outputs, take_apart
from tests.launched import forked, launch, lived
from tests.tiny import CONTEXT, TinyTask, pool, tiny_bank, tiny_config, tiny_model, tiny_tokenizer

GB = 10**9


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of 20 M random parameters."""
    folder = tmp_path_factory.mktemp("medium")
    sizes = {"vocab_size": 320, "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 9}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64}
    tiny_model(**sizes, **heads).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("lora", [0, 4])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_are_those_of_the_model(tmp_path: Path, student: Path, lora: int, dtype: Any) -> None:
    config = tiny_config(tmp_path, student, lora={"r": lora})
    config.model.dtype = dtype
    model: Any = with_adapters(load(student, dtype)[0], config)
    found = outline(config)
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    assert found.parameters == sum(p.numel() for p in parameters)
    assert found.trained == sum(p.numel() for p in trained)
    assert found.weights == sum(p.nbytes for p in parameters)
    assert found.trained_bytes == sum(p.nbytes for p in trained)
    assert (found.layers, found.hidden, found.queries, found.keys, found.inner) == (2, 16, 16, 8, 32)


def test_optimizer_and_gradients_are_those_of_a_step(tmp_path: Path, student: Path) -> None:
    config = tiny_config(tmp_path, student)
    model, _ = load(student)
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.arange(8)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    states = sum(value.nbytes for state in optimizer.state.values() for value in state.values() if value.ndim)
    found = estimate(config, outline(config), Lengths(0, 0.0, 0))
    assert found.optimizer == states
    assert found.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert found.fixed == found.weights + found.gradients + found.optimizer and found.reference == 0


def big(tmp_path: Path, **training: Any) -> tuple[Config, Outline]:
    """A 1.5 B student in numbers, as Qwen2.5-1.5B: 28 layers of 1536."""
    config = tiny_config(tmp_path, tmp_path, **training)
    n = 1_543_714_304
    return config, Outline(n, n, 4 * n, 4 * n, 28, 1536, 1536, 256, 8960)


def test_settings_that_save_memory_save_it(tmp_path: Path) -> None:
    lengths = Lengths(1000, 800.0, 200)

    def of(**training: Any) -> Any:
        return estimate(*big(tmp_path, **training), lengths)

    plain = of()
    assert (
        plain.weights == plain.gradients == pytest.approx(6.17 * GB, rel=0.01) and plain.optimizer == 2 * plain.weights
    )
    assert of(rl={"micro_batch_size": 4}).update == pytest.approx(plain.update / 4, rel=0.01)
    assert of(rl={"gradient_checkpointing": True}).update < plain.update / 8
    assert of(rl={"bf16": True}).update < plain.update
    assert of(rl={"optimizer": "adamw_8bit"}).optimizer == plain.optimizer / 4
    assert of(rl={"beta": 0.1}).reference == plain.weights
    assert of(rl={"vllm": "colocate"}).rollout == 0
    assert plain.tokens_per_step == 16 * 1000


def test_sharding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = big(tmp_path)
    lengths = Lengths(1000, 800.0, 200)
    alone = estimate(config, model, lengths)
    monkeypatch.setenv("WORLD_SIZE", "4")
    copied = estimate(config, model, lengths)
    assert (copied.weights, copied.gradients) == (alone.weights, 2 * alone.gradients)
    assert copied.rollout == alone.rollout / 4
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    assert estimate(config, model, lengths).fixed == alone.weights + (alone.gradients + alone.optimizer) // 4
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    assert estimate(config, model, lengths).fixed == alone.fixed // 4


def test_what_cannot_fit_is_refused(tmp_path: Path, medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for weights, gradients and optimizer states, 16 bytes a parameter: 318 MB here."""
    config = tiny_config(tmp_path, medium)
    model = outline(config)
    needed = estimate(config, model, Lengths(0, 0.0, 0)).fixed
    assert needed == 16 * model.parameters
    refuse_what_cannot_fit(config, model, Memory(needed, "RAM"))
    refuse_what_cannot_fit(config, model, Memory(None, "accelerator"))
    with pytest.raises(ResourceError) as caught:
        refuse_what_cannot_fit(config, model, Memory(needed - 1, "RAM"))
    text = str(caught.value)
    assert size(needed) in text and "training.lora.r 16" in text and "adamw_8bit" in text and "micro_batch" not in text
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    refuse_what_cannot_fit(config, model, Memory(1000, "GPU"))


def test_what_hardly_fits_is_refused(tmp_path: Path, medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the peak is 1.5 times the memory; up to there it is told."""
    config, plain = (tiny_config(tmp_path, medium, rl={"shared_prefix": share}) for share in ("auto", "off"))
    model, lengths = outline(config), Lengths(1000, 800.0, 200)
    least = estimate(config, model, lengths).peak
    assert least < 0.7 * estimate(plain, model, lengths).peak
    assert "each read once" in "".join(describe(config, model, lengths, Memory(None, "GPU")))
    assert "each read once" not in "".join(describe(plain, model, lengths, Memory(None, "GPU")))
    refuse_what_hardly_fits(config, model, lengths, Memory(int(least / 1.4), "GPU"))
    assert "may not fit" in describe(config, model, lengths, Memory(int(least / 1.4), "GPU"))[-1]
    assert "may not" not in "".join(describe(config, model, lengths, Memory(None, "accelerator")))
    with pytest.raises(ResourceError, match="a step is estimated to need") as caught:
        refuse_what_hardly_fits(config, model, lengths, Memory(int(least / 1.6), "GPU"))
    assert size(least) in str(caught.value) and "training.rl.micro_batch_size" in str(caught.value)
    # What takes TRL's path is measured by it.
    with pytest.raises(ResourceError):
        refuse_what_hardly_fits(plain, model, lengths, Memory(int(least / 1.4), "GPU"))
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    refuse_what_hardly_fits(plain, model, lengths, Memory(1000, "GPU"))


@pytest.mark.parametrize(("family", "shares"), [("qwen3", True), ("gpt2", False)])
def test_whether_prompts_are_shared_is_the_models(family: str, shares: bool) -> None:
    assert sizes(tiny_families.build(family)).shares == shares


def test_the_cold_start_counts(tmp_path: Path, medium: Path) -> None:
    lengths = Lengths(1000, 800.0, 200)

    def made(recipe: str, rl: int, sft: int, **more: Any) -> Config:
        sizes = {"rl": {"micro_batch_size": rl, **more}, "sft": {"batch_size": 64, "micro_batch_size": sft}}
        return tiny_config(tmp_path, medium, recipe=recipe, **sizes)

    config = made("realm-r1", 4, 64)
    model = outline(config)
    plain = made("realm-zero", 4, 64, shared_prefix="off")
    found, alone = estimate(config, model, lengths), estimate(plain, model, lengths)
    assert found.update == pytest.approx(16 * alone.update, rel=0.03) and (found.rows, alone.rows) == (64, 4)
    assert estimate(made("realm-r1", 4, 1), model, lengths) == estimate(made("realm-zero", 4, 64), model, lengths)
    assert "for 64 x (1000 + 200) tokens" in describe(config, model, lengths, Memory(None, "GPU"))[2]


def test_without_rl_nothing_is_sampled(tmp_path: Path, medium: Path) -> None:
    lengths = Lengths(1000, 800.0, 200)
    sizes = {"rl": {"beta": 0.1}, "sft": {"batch_size": 64, "micro_batch_size": 64, "steps": 7}}
    config = tiny_config(tmp_path, medium, recipe="rft", **sizes)
    model = outline(config)
    found = estimate(config, model, lengths)
    assert (found.rollout, found.reference, found.rows, found.tokens_per_step) == (0, 0, 64, 64_000)
    cold = estimate(tiny_config(tmp_path, medium, recipe="realm-r1", **sizes), model, lengths)
    assert (found.update, found.optimizer) == (cold.update, cold.optimizer)
    lines = describe(config, model, lengths, Memory(None, "GPU"))
    assert [line.split()[0] for line in lines] == ["model", "fixed", "update", "peak", "tokens"]
    assert "448,000 over 7 steps" in lines[-1] and "each read once" not in lines[3]


def test_pairs_are_two_rows_each_and_keep_no_reference(tmp_path: Path, medium: Path) -> None:
    lengths = Lengths(1000, 800.0, 200)

    def of(recipe: str, **pairs: Any) -> Any:
        sizes = {"pairs": {"batch_size": 16, "micro_batch_size": 16, "steps": 7, **pairs}}
        config = tiny_config(tmp_path, medium, recipe=recipe, sft={"steps": 0}, **sizes)
        lines = describe(config, model, lengths, Memory(None, "GPU"))
        return estimate(config, model, lengths), lines

    model = outline(tiny_config(tmp_path, medium))
    for loss in ("dpo", "kto"):
        found, lines = of("pairs", loss=loss)
        assert (found.rollout, found.reference, found.rows, found.tokens_per_step) == (0, 0, 32, 32_000)
        assert "224,000 over 7 steps" in lines[-1]
    assert of("pairs", micro_batch_size=8)[0].update == pytest.approx(found.update / 2, rel=0.01)
    assert of("pairs", loss="orpo")[0].update == found.update


def test_memory_of_a_gpu_is_what_is_free_beside_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: {0: (70 * GB, 80 * GB), 1: (GB, 80 * GB)}[device])
    assert memory(tiny_config(tmp_path, tmp_path)) == Memory(70 * GB, "GPU")
    beside = tiny_config(tmp_path, tmp_path, rl={"vllm": "colocate", "vllm_memory": 0.25})
    assert memory(beside) == Memory(50 * GB, "GPU")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert memory(beside) == Memory(0, "GPU")


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        (
            "0::/job/step\n",
            {"job/memory.max": "4096\n", "job/memory.swap.max": "0\n", "memory.max": "max\n"},
            (4096, 0),
        ),
        # A container: the path is the host's, the limit stands at the root.
        ("0::/../../host/path\n", {"memory.max": "8192\n"}, (8192, None)),
        ("7:cpu,cpuacct:/a\n6:memory:/a\n", {"memory/a/memory.limit_in_bytes": "512\n"}, (512, None)),
        ("0::/\n", {"memory.max": "max\n"}, (None, None)),
        ("nonsense", {}, (None, None)),
    ],
    ids=["v2", "container", "v1", "no-limit", "nonsense"],
)
def test_limits_of_control_groups(tmp_path: Path, own: str, files: dict[str, str], limits: Any) -> None:
    (tmp_path / "cgroup").write_text(own)
    for name, content in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(content)
    found = list(group_limits(tmp_path / "fs", tmp_path / "cgroup"))
    least = tuple(min((pair[i] for pair in found), default=1 << 62) for i in (0, 1))
    assert least == tuple(1 << 62 if limit is None else limit for limit in limits)
    assert not list(group_limits(tmp_path, tmp_path / "none"))


def test_memory_of_a_process_is_within_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = memory(tiny_config(tmp_path, tmp_path)).limit
    monkeypatch.setattr(memory_module, "group_limits", lambda: [(4096, 1024), (8192, 1 << 62)])
    monkeypatch.setattr("psutil.swap_memory", lambda: SimpleNamespace(total=GB))
    assert memory(tiny_config(tmp_path, tmp_path)) == Memory(5120, "RAM") and alone is not None and alone > 5120
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert memory(tiny_config(tmp_path, tmp_path)) == Memory(2560, "RAM")


def test_prompts_are_measured_with_their_routes(tmp_path: Path, student: Path) -> None:
    config, task = tiny_config(tmp_path, student), TinyTask()
    _, tokenizer = load(student)
    shown = prompt_lengths(config, Renderer(config, task, tiny_bank(task), tokenizer, CONTEXT))
    alone = prompt_lengths(config, Renderer(config, task, tiny_bank(task), tokenizer, CONTEXT, k=0))
    assert shown.longest >= shown.mean > alone.mean + 4 * 8
    room = Memory(None, "GPU")
    assert (alone.routes, alone.dropped, shown.dropped) == (0, 0, 0) and shown.routes > 0
    assert "routes" not in {line.split()[0] for line in describe(config, outline(config), shown, room)}
    tight = prompt_lengths(config, Renderer(config, task, tiny_bank(task), tokenizer, alone.longest + alone.completion))
    assert (tight.routes, tight.dropped) == (0, shown.routes)
    said = describe(config, outline(config), tight, room)[-1]
    assert f"{shown.routes} of {shown.routes}" in said and "the student will see none" in said
    config.fade.p_start = 0.0
    faded = Renderer(config, task, tiny_bank(task), tokenizer, CONTEXT)
    assert prompt_lengths(config, faded) == shown, "a later step may show what the first does not"


PROBE = """
import sys
from tests.training.test_estimate import *
plain = {"micro_batch_size": 64, "batch_size": 64, "shared_prefix": "off"}
config = tiny_config(Path(sys.argv[1]), Path(sys.argv[1]), rl=plain)
task, bank = TinyTask(), tiny_bank(TinyTask())
with pool() as judges:
    warm = probe(prepare(tiny_config(Path(sys.argv[1]), Path(sys.argv[2])), task, bank), judges)
    found = probe(prepare(config, task, bank), judges)
lengths = prompt_lengths(config, Renderer(config, task, bank, tiny_tokenizer(), CONTEXT))
print(estimate(config, outline(config), lengths).peak, found.peak)
"""


@pytest.mark.slow
def test_the_peak_of_a_run_of_20_m_parameters(tmp_path: Path, medium: Path, student: Path) -> None:
    """On TRL's own path the process grows by what was estimated, within a quarter (it
    holds libraries and freed blocks besides)."""
    estimated, measured = map(int, launch(PROBE, tmp_path, medium, student).split()[-2:])
    assert measured == pytest.approx(estimated, rel=0.25), f"estimated {size(estimated)}, measured {size(measured)}"


#: Of an update: prompt and completion tokens, and completions.
SIZES = (300, 100, 4)


def wide() -> Any:
    """15 M parameters, more than half of them a head of 32 000 tokens."""
    sizes = {"vocab_size": 32_000, "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6}
    return tiny_model(**sizes, num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=512)


def update(out: Path, share: str) -> None:
    """Write what this process gains in the second step of training."""
    import psutil
    from trl.trainer.utils import add_fused_lm_head

    before = psutil.Process().memory_info().rss
    narrow_head()
    model, (prompt, completion, rows) = wide(), SIZES
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    ids = torch.randint(2, 32_000, (rows, prompt + completion))
    ids[:, :prompt] = ids[0, :prompt]
    if share == "auto":
        found = shared_outputs(model, model, take_apart(ids, torch.ones_like(ids), completion))
    else:
        found = model(input_ids=ids, labels=ids, fused_lm_head=True)
    found.log_probs.sum().backward()
    optimizer.step()
    out.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before))


@pytest.mark.parametrize("share", ["auto", "off"])
def test_the_peak_of_an_update_with_a_wide_head(tmp_path: Path, share: str) -> None:
    prompt, completion, rows = SIZES
    process = forked(update, tmp_path / "process", tmp_path / "peak", share)
    rl = {"micro_batch_size": rows, "batch_size": rows, "num_generations": rows, "shared_prefix": share}
    estimated = estimate(tiny_config(tmp_path, tmp_path, rl=rl), sizes(wide()), Lengths(prompt, prompt, completion))
    assert lived(process, tmp_path / "process")
    measured = int((tmp_path / "peak").read_text())
    assert measured == pytest.approx(estimated.peak, rel=0.3), f"told {size(estimated.peak)}, had {size(measured)}"


def test_probe_leaves_nothing(tmp_path: Path, student: Path) -> None:
    task = TinyTask()
    with pool() as judges:
        found = probe(prepare(tiny_config(tmp_path, student), task, tiny_bank(task)), judges)
    assert found.seconds > 0 and 0 <= found.peak <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert not list(tmp_path.iterdir())


def test_peak_that_lags_is_no_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_peak", lambda: 1000)
    assert probing._gained(400) == 600
    assert probing._gained(99_304) == 0


def test_sizes_are_readable() -> None:
    assert [size(n) for n in (12, 1500, 2.5e6, 318e6, 24.4e9, 1.2e12)] == [
        "12 bytes", "1.5 kB", "2.5 MB", "318 MB", "24 GB", "1,200 GB",
    ]  # fmt: skip
