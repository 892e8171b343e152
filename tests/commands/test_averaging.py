"""`realm average`: the weights of models of one shape, and what does not go together is told."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import metadata_load
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner, Result

from realm.cli.app import app
from realm.commands.averaging import average
from realm.errors import ConfigError, ModelError, ResourceError
from realm.pages.card import license_of, read_surface
from realm.student.average import find_files
from realm.student.load import load
from tests.tiny import WORDS, tiny_model, tiny_tokenizer, word_tokenizer


def directory(
    folder: Path, seed: int, dtype: torch.dtype = torch.float32, shard: str = "50GB", **settings: object
) -> Path:
    model: Any = tiny_model(seed, **settings)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of one shape, the second in several files."""
    folder = tmp_path_factory.mktemp("models")
    return [directory(folder / str(seed), seed, shard="4KB" if seed == 1 else "50GB") for seed in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_that_of_each_weight(tmp_path: Path, dtype: torch.dtype) -> None:
    folders = [directory(tmp_path / str(seed), seed, dtype, tie_word_embeddings=seed == 4) for seed in (3, 4)]
    with pytest.raises(ConfigError, match=r"differs in tie_word_embeddings"):
        average(folders, tmp_path / "mean")
    folders[0] = directory(tmp_path / "5", 5, dtype)  # tied as well
    average(folders, tmp_path / "mean", [0.3])
    first, second, found = (tensors(folder) for folder in (*folders, tmp_path / "mean"))
    assert found.keys() == first.keys() == second.keys()
    for name, tensor in found.items():
        exact = 0.7 * first[name].double() + 0.3 * second[name].double()
        assert tensor.dtype == dtype
        assert torch.allclose(
            tensor.double(), exact, rtol=2**-24 * 1.01 if dtype == torch.float32 else 2**-8 * 1.01, atol=1e-9
        ), name


def test_a_share_of_one_is_the_model_itself_and_files_stay_as_those_of_the_first(
    tmp_path: Path, models: list[Path]
) -> None:
    for number, shares in enumerate(([0.0], [1.0], [0.0, 1.0])):
        pair = models[:2] if number < 2 else models[1:]
        average(pair, tmp_path / str(number), shares)
        wanted = tensors(pair[shares[-1] == 1.0])
        found = tensors(tmp_path / str(number))
        assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
    names = {file.name for file in models[1].iterdir()}
    assert {file.name for file in (tmp_path / "2").iterdir()} == {*names, "README.md"}
    assert sum(name.endswith(".safetensors") for name in names) > 1
    load(tmp_path / "2")


def test_equal_models_stay_what_they_are_and_without_shares_all_count_the_same(
    tmp_path: Path, models: list[Path]
) -> None:
    average([models[0]] * 3, tmp_path / "same", [0.1, 0.2, 0.7])
    assert (tmp_path / "same/model.safetensors").read_bytes() == (models[0] / "model.safetensors").read_bytes()
    assert average(models, tmp_path / "mean") == [1 / 3] * 3
    parts, found = [tensors(folder) for folder in models], tensors(tmp_path / "mean")
    for name, tensor in found.items():
        assert torch.allclose(tensor, torch.stack([part[name] for part in parts]).mean(0), atol=1e-7), name


def test_weights_that_layers_share_may_be_kept_under_either_name(tmp_path: Path, models: list[Path]) -> None:
    both = Path(shutil.copytree(models[0], tmp_path / "both"))
    held = tensors(both)
    held["lm_head.weight"] = held["model.embed_tokens.weight"].clone()
    save_file(held, both / "model.safetensors", {"format": "pt"})
    for number, pair in enumerate(([both, models[1]], [models[1], both])):
        average(pair, tmp_path / str(number), [0.5])
        found = tensors(tmp_path / str(number))
        mean = (held["lm_head.weight"] + tensors(models[1])["model.embed_tokens.weight"]) / 2
        assert torch.allclose(found["model.embed_tokens.weight"], mean)
        assert torch.equal(
            found.get("lm_head.weight", found["model.embed_tokens.weight"]), found["model.embed_tokens.weight"]
        )


def test_what_does_not_go_together_is_told_and_leaves_nothing(tmp_path: Path, models: list[Path]) -> None:
    wide = directory(tmp_path / "wide", 0, hidden_size=32)
    longer = directory(tmp_path / "longer", 0, max_position_embeddings=64)
    words = Path(shutil.copytree(models[0], tmp_path / "words"))
    word_tokenizer([*WORDS[:4], *WORDS[:3:-1]], special=4).save_pretrained(words)
    torn = Path(shutil.copytree(models[0], tmp_path / "torn"))
    (torn / "model.safetensors").write_bytes(b"torn")
    other = Path(shutil.copytree(models[0], tmp_path / "other"))
    save_file({f"x.{name}": tensor for name, tensor in tensors(other).items()}, other / "model.safetensors")
    sized = Path(shutil.copytree(models[0], tmp_path / "sized"))
    save_file({name: tensor[..., :8].clone() for name, tensor in tensors(sized).items()}, sized / "model.safetensors")
    for model, message in (
        (wide, "hidden_size: 16 and 32"),
        (longer, "max_position_embeddings"),
        (words, "their tokenizers differ"),
        (torn, "cannot be loaded"),
        (other, r"has the weight x\."),
        (sized, "cannot be added"),
        (tmp_path / "nowhere", "no such model directory"),
    ):
        with pytest.raises((ConfigError, ModelError), match=message):
            average([models[0], model], tmp_path / "out")
    for shares in ([0.5, 0.6], [-0.1, 1.1], [0.2, 0.3, 0.5], [1.5]):
        with pytest.raises(ConfigError, match="expected one share for each"):
            average(models[:2], tmp_path / "out", shares)
    with pytest.raises(ConfigError, match=r"found 25 for 2 models; did you mean 0\.25\?$"):
        average(models[:2], tmp_path / "out", [25])
    for name in ("desk-bas", "gpt2"):  # nobody is asked over the network
        with pytest.raises(ModelError, match=f"^{name}: there is no such model"):
            average([models[0], name], tmp_path / "out")
    near = models[1].with_name(f"{models[1].name}x")
    with pytest.raises(ModelError, match=f"Did you mean .*{models[1].name}"):
        average([models[0], near], tmp_path / "out")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    with pytest.raises(ResourceError, match="is there already"):
        average(models[:2], tmp_path / "there")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*.tmp"))


def test_a_run_and_its_base_say_of_what_they_are_made_and_are_asked_as_before(trained: Path, tmp_path: Path) -> None:
    run, base, out = str(trained), str(trained.parent / "base"), tmp_path / "mean"
    result: Result = CliRunner().invoke(app, ["average", run, base, "--share", "0.25", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"75.0%: {run}\n25.0%: {base}\n" in result.output
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "75.0%: `run/model`" in card and (metadata_load(out / "README.md") or {})["tags"] == ["merge"]
    assert read_surface(out) == read_surface(trained / "model") is not None
    parts = [tensors(folder) for folder in (trained / "model", trained.parent / "base")]
    for name, tensor in tensors(out).items():
        assert torch.allclose(tensor, 0.75 * parts[0][name] + 0.25 * parts[1][name], atol=1e-7), name
    refused = CliRunner().invoke(app, ["average", run, "--out", str(tmp_path / "one")])
    assert refused.exit_code == 2 and "expected two or more models, found 1" in refused.output
    assert len(refused.output.splitlines()) == 1


def test_of_a_model_of_the_hub_the_card_is_fetched_too_and_no_pickle(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, here = tmp_path / "hub", tmp_path / "here"
    shutil.copytree(models[0], hub)
    (hub / "README.md").write_text("---\nlicense: mit\n---\n")
    (hub / "pytorch_model.bin").touch()

    def fetched(name: str, allow_patterns: list[str]) -> str:
        here.mkdir()
        for file in hub.iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(file, here / file.name)
        return str(here)

    monkeypatch.setattr("realm.student.average.snapshot_download", fetched)
    assert license_of(str(find_files("owner/name"))) == "mit"
    assert load(here) and not (here / "pytorch_model.bin").exists()


def test_weights_that_are_named_as_by_an_older_version(tmp_path: Path) -> None:
    """Of a model of the Hub and what was trained from it: transformers reads both, and writes one way."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    wanted = {name: (tensor + tensors(old)[name]) / 2 for name, tensor in tensors(new).items()}
    named = {name.removeprefix("transformer."): tensor for name, tensor in tensors(old).items()}
    save_file(named, old / "model.safetensors", {"format": "pt"})
    average([old, new], tmp_path / "mean")
    found = tensors(tmp_path / "mean")
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], tensor, atol=1e-7) for name, tensor in wanted.items())
