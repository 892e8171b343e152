"""Mistakes of the user at the real command line: exit code 2, one or two lines that say what, where and what to do,
no traceback, and nothing written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from realm.bank.folder import BankFolder
from realm.cli.common import READ, refuse_unread
from realm.config import field_names, load_config
from realm.errors import ConfigError
from tests.cli.conftest import Realm, question_rows, tree
from tests.conftest import read_rows, write_rows


def refused(result: Result) -> str:
    """The message, after checking its form."""
    message: str = result.stderr
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert message.startswith("error: ")
    assert len(message.strip().splitlines()) <= 2, message
    assert not result.stdout
    return message


#: `--set` values (and other arguments) of `realm train config.yaml`, and what the message must name.
SETTINGS = {
    "G does not divide the batch": (["--set", "training.rl.num_generations=3"], ["batch_size (4)", "G (3)", "e.g. 3"]),
    "micro-batch does not divide": (["--set", "training.rl.micro_batch_size=3"], ["batch_size (4)", "(3)"]),
    "p above 1": (["--set", "fade.p_start=1.5"], ["fade.p_start", "1.5", "less than or equal to 1"]),
    "p below 0": (["--set", "fade.p_end=-0.1"], ["fade.p_end", "-0.1", "greater than or equal to 0"]),
    "p is not a number": (["--set", "fade.p_start=.nan"], ["fade.p_start"]),
    "guidance above 1": (["--set", "guidance.probability=2"], ["guidance.probability", "2"]),
    "fade ends before it starts": (["--set", "fade.hold=0.95"], ["hold (0.95)", "fade_end (0.9)"]),
    "k above N": (["--set", "routes.k=5"], ["routes.k", "5", "4"]),
    "negative k": (["--set", "routes.k=-1"], ["routes.k", "-1"]),
    "unknown task": (
        ["--set", "task.name=gsm9k"],
        ["task.name", "desk, desk-hard, gsm8k, jsonl or a package.module:attribute (did you mean gsm8k?)", "gsm9k"],
    ),
    "unknown recipe": (
        ["--set", "training.recipe=ppo"],
        ["training.recipe", "synthesizer-rl or a package.module:attribute", "ppo"],
    ),
    "unknown verifier": (["--set", "task.verifier=eval"], ["task.verifier", "eval"]),
    "unknown key": (["--set", "training.rl.step=9"], ["training.rl.step", "did you mean training.rl.steps?"]),
    "unknown section": (["--set", "rutes.k=2"], ["rutes", "did you mean routes"]),
    "key below a value": (["--set", "routes.k.x=2"], ["routes.k.x"]),
    "no value": (["--set", "routes.k"], ["routes.k", "KEY=VALUE"]),
    "wrong type": (["--set", "training.rl.steps=many"], ["training.rl.steps", "many"]),
    "no model there": (["--model", "no/such/model"], ["no/such/model"]),
    "model is a file": (["--model", "rows.jsonl"], ["rows.jsonl", "file"]),
    "model directory is none": (["--model", "empty"], ["empty", "config.json"]),
    "no weights": (["--model", "weightless"], ["weightless", "weights"]),
    "torn weights": (["--model", "torn"], ["torn"]),
    "context above the model's": (["--set", "model.context=4096"], ["model.context", "2048", "4096"]),
    "context too short for the question": (["--set", "model.context=64"], ["tokens", "context"]),
    "context too short for a completion": (["--set", "training.rl.max_completion_length=4000"], ["2048", "4000"]),
    "no questions there": (["--set", "task.path=no.jsonl"], ["no.jsonl", "cannot read"]),
    "questions are a folder": (["--set", "task.path=empty"], ["empty", "cannot read"]),
    "empty file": (["--set", "task.path=empty.jsonl"], ["empty.jsonl", "empty"]),
    "torn file": (["--set", "task.path=torn.jsonl"], ["torn.jsonl:24", "cut off", "remove"]),
    "row without answer": (["--set", "task.path=unanswered.jsonl"], ["unanswered.jsonl:3", "task.bad_rows=skip"]),
    "gold that is no number": (["--set", "task.path=unreadable.jsonl"], ["unreadable.jsonl:2", "task.bad_rows=skip"]),
    "an id twice": (["--set", "task.path=twice.jsonl"], ["twice.jsonl:25", "q0"]),
    "bytes instead of text": (["--set", "task.path=bytes.jsonl"], ["bytes.jsonl:1"]),
    "no bank there": (["--set", "bank.path=no-bank"], ["no-bank", "realm collect"]),
    "CoTs of other questions": (["--set", "bank.path=others.jsonl"], ["others.jsonl", "question ids"]),
    "no CoTs": (["--set", "bank.path=cotless.jsonl"], ["cotless.jsonl", "cots"]),
    "run name is a path": (["--set", "run.name=a/b"], ["run.name", "a/b"]),
    "run name used": (["--set", "run.name=used"], ["used", "--resume", "--overwrite"]),
    "run name used by another folder": (["--set", "run.name=other"], ["other", "not a run folder", "--out"]),
    "nothing to resume": (["--resume", "--set", "run.name=other"], ["other", "no run to resume", "--out"]),
    "no such tracker": (["--set", "run.report_to=[clouds]"], ["run.report_to", "clouds", "install"]),
    "unset variable": (["--set", "task.path=${REALM_NOWHERE}/x"], ["REALM_NOWHERE", "not set"]),
}


#: A command, a `--set` that nothing would come of there, and what is said of it.
UNREAD = [
    (("bank", "label", "bank"), "task.verifier=number", "name the task's file with --config, or give --verifier."),
    (("bank", "validate", "bank"), "task.verifier=number", "task.verifier: name the task's file with --config."),
    (("bank", "label", "bank"), "task.max_train=3", "it does so with --config FILE only"),
    (("bank", "label", "bank", "--config", "config.yaml"), "routes.k=2", "realm train and realm evaluate; leave it"),
    (("bank", "validate", "bank"), "training.rl.steps=2", "it is read by realm train; leave it out here"),
    (("bank", "import", "rows.jsonl", "new"), "task.max_train=3", "it does so with --config FILE only"),
    (("collect", "config.yaml"), "training.rl.steps=2", "realm collect does not read training.rl.steps"),
    (("collect", "config.yaml"), "model.path=x", "it is read by realm train and realm evaluate"),
    (("train", "config.yaml"), "guidance.probability=1", "it is read by realm collect; leave it out here"),
    (("evaluate", "config.yaml"), "training.rl.temperature=2", "it is read by realm train; leave it out here"),
]


@pytest.mark.parametrize(("command", "override", "said"), UNREAD)
def test_a_setting_that_a_command_does_not_read_is_refused(
    work: Path, realm: Realm, command: tuple[str, ...], override: str, said: str
) -> None:
    BankFolder.create(work / "bank", {"verifier": "exact"})
    message = refused(realm(*command, "--set", override))
    assert f"--set {override}: realm " in message and said in message


def test_runs_that_ask_teachers_read_how_these_are_asked() -> None:
    asked = ["teachers.t={kind: openai, model: m}", "guidance.probability=1", "collect.concurrency=2"]
    for step in ("tailored", "{passages: {file: book.md}}", "refine", "mine:step"):
        refuse_unread("train", asked, load_config(None, [f"training.sft.traces=[bank, {step}]"]))
    for override in asked:
        with pytest.raises(ConfigError, match="realm train does not read"):
            refuse_unread("train", [override], load_config(None, []))


def test_every_setting_is_read_by_a_command() -> None:
    everything = [key for keys in READ.values() for key in keys]
    for name in field_names():
        assert any(f"{name}.".startswith(f"{key}.") for key in everything), name


@pytest.fixture
def broken(work: Path, student: Path) -> Path:
    """The working directory with broken files of every kind."""
    rows = question_rows()
    (work / "empty").mkdir()
    (work / "empty.jsonl").write_text("")
    text = (work / "rows.jsonl").read_text()
    (work / "torn.jsonl").write_text(text[:-20])
    write_rows(work / "unanswered.jsonl", [*rows[:2], {**rows[2], "answer": None}, *rows[3:]])
    write_rows(work / "unreadable.jsonl", [rows[0], {**rows[1], "answer": "a lot"}, *rows[2:]])
    write_rows(work / "twice.jsonl", [*rows, rows[0]])
    (work / "bytes.jsonl").write_bytes(b"\xff\xfe\x00" * 30)
    write_rows(
        work / "others.jsonl",
        [row | {"id": f"other-{row['id']}", "question": f"Not {row['question']}"} for row in rows],
    )
    write_rows(work / "cotless.jsonl", [{**row, "cots": []} for row in rows])
    for name, change in (("weightless", Path.unlink), ("torn", lambda file: os.truncate(file, 200))):
        shutil.copytree(student, work / name)
        change(work / name / "model.safetensors")
    (work / "runs" / "used").mkdir(parents=True)
    (work / "runs" / "used" / "meta.json").write_text("{}")
    (work / "runs" / "other").mkdir()
    (work / "runs" / "other" / "notes.txt").write_text("mine")
    return work


@pytest.mark.parametrize("case", SETTINGS)
def test_train_refuses(case: str, broken: Path, realm: Realm) -> None:
    arguments, named = SETTINGS[case]
    before = tree(broken)
    message = refused(realm("train", "config.yaml", *arguments))
    assert [part for part in named if part not in message] == [], message
    assert tree(broken) == before


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, ["mine.yaml", "cannot read"]),
        ("routes: {k: 2", ["mine.yaml", "not valid YAML", "line 1"]),
        ("- routes", ["mine.yaml", "mapping"]),
        ("routes: 7", ["mine.yaml", "routes"]),
        ("routs: {k: 2}", ["mine.yaml", "routs", "did you mean routes"]),
        ("training: {rl: {num_generation: 8}}", ["mine.yaml", "did you mean training.rl.num_generations?"]),
        ("task: {name: jsonl}", ["mine.yaml", "task.path"]),
        ("task: {name: jsonl, path: x, verifier: choice}", ["mine.yaml", "task.choices"]),
        (b"\xff\xfe", ["mine.yaml", "cannot read"]),
    ],
)
@pytest.mark.parametrize("command", ["train", "collect", "evaluate", "quickstart"])
def test_every_command_refuses_a_bad_configuration(
    command: str, content: str | bytes | None, named: list[str], work: Path, realm: Realm
) -> None:
    if content is not None:
        (work / "mine.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    before = tree(work)
    message = refused(realm(command, "mine.yaml"))
    assert [part for part in named if part not in message] == [], message
    assert tree(work) == before


def test_several_mistakes_are_told_at_once_one_a_line(work: Path, realm: Realm) -> None:
    message = refused(realm("train", "config.yaml", "--set", "routes.k=-1", "--set", "fade.p_end=7"))
    assert [line for line in message.splitlines() if "routes.k" in line or "fade.p_end" in line] == message.splitlines()


def test_collect_needs_a_teacher_that_knows_the_task(work: Path, realm: Realm) -> None:
    before = tree(work)
    message = refused(realm("collect", "config.yaml", "--out", "bank"))
    assert "teacher" in message
    assert "jsonl" in message
    assert tree(work) == before


def test_collect_refuses_a_used_bank(work: Path, realm: Realm) -> None:
    bank = work / "bank"
    bank.mkdir()
    (bank / "bank.json").write_text('{"format": 1}')
    before = tree(work)
    message = refused(realm("collect", "--out", "bank"))
    assert "bank" in message
    assert "--resume" in message
    assert "--overwrite" in message
    assert tree(work) == before


def test_desk_k_above_n(work: Path, realm: Realm) -> None:
    arguments = ["--set", "task.max_train=4", "--set", "task.max_test=2", "--set", "bank.samples=2", "--out", "bank"]
    assert "routes.k (4) is above bank.samples (2)" in refused(realm("collect", *arguments))
    assert not (work / "bank").exists()
    assert realm("collect", *arguments, "--set", "routes.k=2").exit_code == 0
    before = tree(work)
    few = ["--set", "bank.path=bank", "--set", "routes.k=3", "--set", "task.max_train=4"]
    message = refused(realm("train", *few))
    assert "routes.k" in message
    assert "3" in message
    assert "2" in message
    assert tree(work) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--model", "no/such/model"], ["no/such/model"]),
        (["--set", "evaluation.splits=[tset]"], ["evaluation.splits", "tset", "test"]),
        (["--set", "model.context=64"], ["tokens"]),
        (["--set", "bank.path=no-bank"], ["no-bank"]),
        (["--out", "done"], ["done", "--overwrite"]),
        (["--out", "rows.jsonl"], ["rows.jsonl"]),
    ],
)
def test_evaluate_refuses(arguments: list[str], named: list[str], work: Path, realm: Realm) -> None:
    (work / "done").mkdir()
    (work / "done" / "evaluations.jsonl").write_text("{}\n")
    before = tree(work)
    message = refused(realm("evaluate", "config.yaml", *arguments))
    assert [part for part in named if part not in message] == [], message
    assert tree(work) == before


def test_a_missing_model_is_told_before_a_missing_bank(work: Path, realm: Realm) -> None:
    assert "nowhere" in refused(realm("evaluate", "config.yaml", "--model", "./nowhere", "--set", "bank.path=no-bank"))


def test_the_packaged_model_is_no_student_of_another_task(work: Path, realm: Realm) -> None:
    message = refused(realm("train", "config.yaml", "--model", "desk-base", "--set", "model.context=2048"))
    assert [part for part in ("desk-base", "512", "2048", "rows.jsonl", "--model DIR") if part not in message] == []


def test_another_configuration_is_told_before_what_it_leads_to(work: Path, realm: Realm) -> None:
    assert realm("train", "config.yaml").exit_code == 0
    before = tree(work)
    message = refused(realm("train", "config.yaml", "--resume", "--set", "routes.k=5"))
    run = yaml.safe_load((work / "config.yaml").read_text())["run"]["name"]
    assert message == (
        f"error: runs/{run}: the run was begun with another routes.k. To go on as it began: realm train runs/{run} "
        f"--resume; to start anew with it, give --out runs/{run}-2 in the place of --resume.\n"
    )
    assert tree(work) == before


def test_evaluate_never_takes_the_place_of_a_run(work: Path, realm: Realm) -> None:
    (work / "mine").mkdir()
    (work / "mine" / "meta.json").write_text('{"recipe": "grpo"}')
    before = tree(work)
    assert "--out" in refused(realm("evaluate", "config.yaml", "--out", "mine", "--overwrite"))
    assert tree(work) == before


@pytest.mark.parametrize("folder", ["nowhere", "empty", "rows.jsonl"])
def test_report_refuses_what_is_no_run(folder: str, work: Path, realm: Realm) -> None:
    (work / "empty").mkdir()
    before = tree(work)
    assert folder in refused(realm("report", folder))
    assert tree(work) == before


def test_a_folder_that_is_no_run_is_no_configuration(work: Path, realm: Realm) -> None:
    (work / "empty").mkdir()
    assert "empty" in refused(realm("train", "empty"))


def test_desk_show_refuses_an_unknown_split(realm: Realm) -> None:
    message = refused(realm("desk", "show", "--split", "tets"))
    assert "tets" in message
    assert "test" in message


def test_quickstart_refuses_a_used_name(work: Path, realm: Realm) -> None:
    (work / "runs" / "quickstart").mkdir(parents=True)
    (work / "runs" / "quickstart" / "results.json").write_text("{}")
    before = tree(work)
    message = refused(realm("quickstart", "--fast"))
    assert "quickstart" in message
    assert "--overwrite" in message
    assert tree(work) == before


def on_a_small_disk(work: Path, size: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with `small/` in `work` being a disk of that size, in a mount namespace of its own."""
    (work / "small").mkdir(exist_ok=True)
    mounted = f"set -e; mount -t tmpfs -o size={size} none small\n{textwrap.dedent(script)}"
    environment = {**os.environ, "REALM": f"{sys.executable} -m realm", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", mounted],
        cwd=work, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not shutil.which("unshare"):
        pytest.skip("no command unshare: a full disk cannot be made here")
    if on_a_small_disk(tmp_path_factory.mktemp("probe"), "1m", "true").returncode:
        pytest.skip("this user may not mount: a full disk cannot be made here")


@pytest.mark.slow
@pytest.mark.usefixtures("small_disks")
def test_a_full_disk_in_collect_is_told_and_the_rest_is_collected_later(work: Path) -> None:
    done = on_a_small_disk(
        work,
        "64k",
        """
        desk="--set task.max_train=100 --set task.max_test=2 --out small/bank"
        code=0; $REALM collect $desk 2>err || code=$?
        test $code = 2
        mount -o remount,size=64m small
        $REALM collect $desk --resume
        $REALM collect $desk --resume
        cp small/bank/cots.jsonl all.jsonl
        """,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    message = (work / "err").read_text()
    assert "error: small/bank" in message
    assert "Traceback" not in message
    assert "No space left" in message
    assert " 0 CoTs added" in done.stdout.splitlines()[-5]
    rows = read_rows(work / "all.jsonl")
    assert len({row["id"] for row in rows}) == len(rows) > 800


@pytest.mark.slow
@pytest.mark.usefixtures("small_disks")
def test_a_disk_that_is_full_from_the_start_gets_no_half_run(work: Path) -> None:
    done = on_a_small_disk(
        work,
        "4k",
        """
        code=0; $REALM train config.yaml --out small/run 2>err || code=$?
        find small -mindepth 1
        exit $code
        """,
    )
    message = (work / "err").read_text()
    assert done.returncode == 2, message
    assert done.stdout == ""
    assert "small/run" in message
    assert "Traceback" not in message


@pytest.mark.slow
@pytest.mark.usefixtures("small_disks")
def test_a_disk_that_fills_up_in_training_is_told_and_the_run_resumes(work: Path) -> None:
    done = on_a_small_disk(
        work,
        "120k",
        """
        code=0; $REALM train config.yaml --out small/run 2>err || code=$?
        test $code = 2
        mount -o remount,size=64m small
        $REALM train config.yaml --out small/run --resume
        test -s small/run/report.html
        """,
    )
    message = (work / "err").read_text()
    assert done.returncode == 0, message + done.stdout + done.stderr
    assert "Traceback" not in message
    assert "error: " in message
