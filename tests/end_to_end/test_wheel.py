"""What is installed from an index: the wheel holds all that the package needs, and runs where no repository is."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import realm
from tests.conftest import ROOT

pytest.importorskip("hatchling", reason="hatchling builds the wheel; it is in the extra `dev`")

#: All of the quickstart, a few steps of each recipe on a few questions.
SHORTEST = (
    *("training.sft.steps=1", "training.rl.steps=2", "training.rl.batch_size=16", "training.rl.micro_batch_size=16"),
    *("task.max_train=16", "task.max_test=8", "training.eval_questions=0", "evaluation.bootstrap=100"),
)


def build(target: str, source: Path, into: Path) -> Path:
    """An sdist or a wheel, made as pip makes it, but of what is installed."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)], cwd=source, check=True)
    (found,) = into.glob("*.tar.gz" if target == "sdist" else "*.whl")
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the wheel that is made from the sdist, in which git knows nothing."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(build("sdist", ROOT, folder)) as packed:
        packed.extractall(folder, filter="data")
    source = folder / f"realm_slm-{realm.__version__}"
    with zipfile.ZipFile(build("wheel", source, folder)) as packed:
        packed.extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        found = (root / "realm").rglob("*")
        return {str(path.relative_to(root)) for path in found if path.is_file() and "__pycache__" not in path.parts}

    assert files(installed) == files(ROOT)
    (about,) = installed.glob("*.dist-info")
    assert f"\nVersion: {realm.__version__}\n" in (about / "METADATA").read_text(encoding="utf-8")
    assert "realm = realm.cli.app:main" in (about / "entry_points.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_quickstart_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import realm, sys; print(realm.__file__); from realm.cli.app import main; main()"
    settings = [word for setting in SHORTEST for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-c", program, "quickstart", *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.startswith(str(installed))
    assert len(list(tmp_path.glob("runs/quickstart/cells/*/model/model.safetensors"))) == 3
    assert (tmp_path / "runs" / "quickstart" / "report.html").stat().st_size > 50_000
