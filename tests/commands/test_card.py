"""The card of a trained model: what the Hub reads of it, and that it works as it is written."""

from __future__ import annotations

import io
import json
import re
import shutil
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from realm.bank.cot import CoT
from realm.bank.store import Bank
from realm.commands.asking import Student
from realm.commands.training import train
from realm.config import Config
from realm.errors import DataError
from realm.method.prompt import DEFAULT_WORDING, Tags, Wording, messages
from realm.pages.card import card, license_of, outdated, read_surface, surface
from realm.rows.evaluation import Edited, Evaluation
from realm.rows.run import Candidate, Chosen
from realm.run import RunFolder
from realm.run_rows import read_rows
from realm.sections import TeacherConfig
from realm.student.generate import generate
from realm.student.load import load
from realm.student.prompts import encode
from tests.tiny import CHAT_TEMPLATE, LENGTH, TinyTask, save_student, tiny_tokenizer


def ran(code: str, folder: Path) -> str:
    """What a program prints that is started in a folder."""
    with chdir(folder), redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "card", "exec"), {})
    return printed.getvalue().strip().removesuffix("<|end|>").rstrip()


def own(folder: Path, prompt: list[dict[str, str]]) -> str:
    """The greedy completion of a model as an evaluation makes it."""
    model, tokenizer = load(folder)
    return generate(model, tokenizer, [encode(tokenizer, prompt)], max_new_tokens=LENGTH, batch_size=1)[0][0].text


def test_the_program_runs_as_written(trained: Path) -> None:
    text = (trained / "model" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    said = own(trained / "model", [{"role": "user", "content": "3 plus 4 answer"}])
    assert ran(code.replace("Your question.", "3 plus 4"), trained / "model") == said
    assert ran(code, trained / "model")


def test_a_program_without_a_chat_template_and_with_a_system_message(
    trained: Path, config: Config, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["model", "checkpoints"])
    folder = save_student(run / "model", chat=False)
    said = own(folder, [{"role": "system", "content": "odd"}, {"role": "user", "content": "3 plus 4 answer"}])
    text = card(run, config.changed({"prompt.system": "odd"}), TinyTask())
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert ran(code.replace("Your question.", "3 plus 4"), folder) == said


def with_template(trained: Path, folder: Path, template: str) -> Path:
    """A copy of the run whose student has another chat template."""
    run = shutil.copytree(trained, folder / "run", ignore=lambda *_: ["checkpoints"])
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(run / "model")
    return run


def test_a_program_with_an_example_and_a_template_without_system_messages(
    trained: Path, config: Config, tmp_path: Path
) -> None:
    refuse = "{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}<|"
    run = with_template(trained, tmp_path, CHAT_TEMPLATE.replace("<|", refuse, 1))
    given = [{"question": "1 plus 1", "think": "is even", "answer": "0"}]
    task = TinyTask()
    task.wording = replace(task.wording, without_routes="<{answer}>")
    text = card(run, config.changed({"prompt.system": "odd", "prompt.examples": given}), task)
    assert "There is no system message." in text and "An answer shown as an example:" in text
    shown = "<think> is even </think> <answer> 0 </answer>"
    sent = [("user", "odd\n\n1 plus 1 <answer>"), ("assistant", shown), ("user", "3 plus 4 <answer>")]
    said = own(run / "model", [{"role": role, "content": content} for role, content in sent])
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert ran(code.replace("Your question.", "3 plus 4"), run / "model") == said
    (run / "model" / "README.md").write_text(text)
    asked = Student(run / "model").ask("3 plus 4", samples=0)
    told = read_surface(run / "model")
    assert told is not None and told.prompt.examples == given and told.system == "odd"
    assert len(asked.messages) == 1, "in a run, its configuration tells"
    alone = shutil.copytree(run / "model", tmp_path / "alone")
    assert [(one["role"], one["content"]) for one in Student(alone).ask("3 plus 4", samples=0).messages] == sent


def test_a_program_with_an_example_that_speaks_of_the_place_of_the_question(
    trained: Path, config: Config, tmp_path: Path
) -> None:
    """Also where a template writes one role alone, so that all of it stands in one message."""
    run = with_template(
        trained, tmp_path, "{% if messages|length > 1 %}{{ raise_exception('one') }}{% endif %}" + CHAT_TEMPLATE
    )
    given = [{"question": "1 plus {question}", "think": "{the question} is even", "answer": "0"}]
    task = TinyTask()
    task.wording = replace(task.wording, without_routes="<{answer}>")
    asked = "1 plus {question} <answer>\n\n<think> {the question} is even </think> <answer> 0 </answer>"
    text = card(run, config.changed({"prompt.examples": given}), task)
    assert text.count("{the the question}") == 4, "shown, named twice, and in the program"
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    program: dict[str, Any] = {}
    exec(code[code.index("question =") : code.index("text =")].replace("Your question.", "3 plus 4"), program)
    assert program["messages"] == [{"role": "user", "content": f"{asked}\n\n3 plus 4 <answer>"}]


def test_a_card_of_before_there_were_examples_shows_none(trained: Path, tmp_path: Path) -> None:
    card_of = (trained / "model" / "README.md").read_text()
    assert card_of.count("    examples: none\n") == 1
    (tmp_path / "README.md").write_text(card_of.replace("    examples: none\n", ""))
    told = read_surface(tmp_path)
    assert told is not None and told.prompt.examples == "none"


def test_the_head_says_what_the_hub_asks_for(trained: Path) -> None:
    data = ModelCard.load(trained / "model" / "README.md").data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "transformers", "text-generation")
    final = [row for row in read_rows(trained, Evaluation) if row.stage == "final" and not row.routes]
    assert [(one.dataset_split, one.metric_value) for one in data.eval_results] == [
        (row.split, round(row.accuracy, 4)) for row in final
    ]
    assert data.base_model is None, "a directory of this machine is no name of the Hub"


def test_a_program_with_an_example_that_a_template_keeps_where_it_is_asked_to(
    trained: Path, config: Config, tmp_path: Path
) -> None:
    """The turns that training showed stay turns, where an argument of the template keeps earlier answers."""
    kept = "{% for m in messages %}{% if keep or m['role'] != 'assistant' %}"
    run = with_template(trained, tmp_path, kept + "<|{{ m['role'] }}|>{{ m['content'] }}{% endif %}{% endfor %}")
    given = [{"question": "1 plus 1", "think": "is even", "answer": "0"}]
    for arguments, roles in (({"keep": True}, ["user", "assistant", "user"]), ({"keep": False}, ["user"])):
        settings = {"prompt.system": "", "prompt.examples": given, "model.template_arguments": arguments}
        text = card(run, config.changed(settings), TinyTask())
        (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        program: dict[str, Any] = {}
        exec(code[code.index("question =") : code.index("text =")], program)
        assert [one["role"] for one in program["messages"]] == roles


def test_what_is_of_the_hub_is_named_and_nothing_is_claimed_of_its_licence(
    trained: Path, config: Config, tmp_path: Path
) -> None:
    run = with_template(trained, tmp_path, CHAT_TEMPLATE + "{% if thinking %}{% endif %}")
    given = {"task.path": "hf:owner/data/main:train[:9]", "task.test_path": str(trained)}
    other = config.changed(given | {"model.path": "owner/some-1B", "model.template_arguments": {"thinking": "`<b>"}})
    text = card(run, other, TinyTask())
    data = ModelCard(text).data
    assert (data.base_model, data.license, data.datasets) == ("owner/some-1B", None, ["owner/data"])
    assert "`owner/some-1B`; its licence: not known" in text
    assert "given `thinking` = `’<b>`." in text and "**{'thinking': '`<b>'}" in text


def test_the_text_tells_how_it_was_made(trained: Path) -> None:
    text = (trained / "model" / "README.md").read_text(encoding="utf-8")
    for part in ("`base`; its licence: mit", "`realm-r1`", "SFT 2, RL 4", "12 `train`, 8 `validation`, 8 `test`"):
        assert part in text
    assert "`tiny`, 36 CoTs; its licence: not known" in text
    assert str(trained.parent) not in text, "where it lies is nobody's business"


def test_a_teacher_that_was_asked_while_training_is_named(trained: Path, config: Config, tmp_path: Path) -> None:
    """It is in no bank that the run learned from, and its terms hold all the same."""
    run = Path(shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["checkpoints"]))
    Bank.create(run / "instructors" / "bank").append(
        [CoT("q", "t", "1", None, teacher=name) for name in ("ask", "old")]
    )
    teacher = TeacherConfig(kind="openai", model="some/GPT")
    instructed = config.changed({"training.recipe": "instructors", "teachers": {"ask": teacher.model_dump()}})
    text = card(run, instructed, TinyTask())
    said = "\n- Teacher: `ask`, the model `GPT`, asked while this model was trained; its licence: not known. Terms of a"
    assert said in text
    assert "`old`" not in text, "of a run that was overwritten"
    assert "`ask`" not in card(run, config, TinyTask()), "a recipe that asks nobody"


def test_a_tool_is_told(trained: Path, config: Config) -> None:
    assert "tool" not in card(trained, config, TinyTask())
    tooled = config.model_copy(deep=True)
    tooled.prompt.execute = True
    text = card(trained, tooled, TinyTask())
    assert "The model works with a tool: where its thinking is a program, the program was run" in text
    assert "`realm ask` and `realm.Student` run it, and its result is the answer.\n\n## With" in text


def test_weights_that_were_averaged_are_told(trained: Path, config: Config) -> None:
    assert "Weights:" not in card(trained, config, TinyTask())
    text = card(trained, config.changed({"training.average": {"checkpoints": 2, "base": 0.125}}), TinyTask())
    assert (
        "\n- Weights: the mean of the last 2 checkpoints of a stage, with a share of 12.5 % of the base.\n- Data"
        in text
    )
    text = card(trained, config.changed({"training.average.base": 0.5}), TinyTask())
    assert "\n- Weights: those of the last step, with a share of 50 % of the base.\n" in text


def test_a_checkpoint_that_validation_chose_is_told(trained: Path, config: Config, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["checkpoints"]))
    found = tuple(Candidate(step=n, value=n / 10, accuracies={"validation": n / 10}) for n in (3, 5))
    run.write_meta(replace(run.meta, chosen=Chosen(step=5, candidates=found)))
    said = "\n- Weights: those of step 5 of the last stage, the best on validation of 2 checkpoints.\n"
    assert said in card(run.path, config, TinyTask())


def test_figures_with_routes_that_had_no_room_are_not_told(trained: Path, config: Config, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    assert "| this model | `test` | 4 |" in card(run, config, TinyTask())
    file = run / "evaluations.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    none = {"routes_per_prompt": 0.0, "routes_dropped": 4.0}
    file.write_text("".join(json.dumps(row | (none if row["routes"] else {})) + "\n" for row in rows))
    text = card(run, config, TinyTask())
    assert "| this model | `test` | 0 |" in text and "| this model | `test` | 4 |" not in text
    some = {"routes_per_prompt": 1.25, "routes_dropped": 2.75}
    file.write_text("".join(json.dumps(row | (some if row["routes"] else {})) + "\n" for row in rows))
    assert "| this model | `test` | 1.2 of 4 |" in card(run, config, TinyTask())


def test_edited_questions_are_not_held_against_the_base(trained: Path, config: Config, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    (row, *_) = (row for row in read_rows(run, Evaluation) if row.stage == "final" and not row.routes)
    more = replace(row, split="test+clause", before=0.5, change=-0.25, change_low=-0.5, change_high=0.0)
    edited = replace(more, edited=Edited(n=0, changed=None, stayed=None))
    told = []
    for one in (more, edited):
        RunFolder(run).append(one)
        told.append([line for line in card(run, config, TinyTask()).splitlines() if "| `test+clause` |" in line])
    assert [line.split("|")[1].strip() for line in told[0]] == ["base", "this model"]
    assert told[1][2:] == [told[0][1].replace("the base", "the same questions unedited")]


def test_no_name_is_read_as_markup(trained: Path) -> None:
    text = (trained / "model" / "README.md").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if "<script>" in line)
    assert re.fullmatch(r"- Teacher: `[^`]*<script>[^`]*`, 12 CoTs; .*", line)
    assert "\x1b" not in text and "license: mit\n" in text and text.count("\n---\n") == 1


def test_no_text_ends_the_head_or_a_block(trained: Path, config: Config) -> None:
    hostile = "```\n---\n</code>{question}\n````x\n---\n"
    evil = config.model_copy(deep=True)
    evil.run.name = "a`b\n---\n<img src=x>"
    evil.prompt.system = hostile
    text = card(trained, evil, TinyTask())
    data = ModelCard(text).data
    assert data.model_name == "a`b⏎---⏎<img src=x>"
    assert data.realm["system"] == hostile
    assert "# `a’b⏎---⏎<img src=x>`" in text
    inside = re.search(r"^(`{5,})text\n(.*?)\n\1$", text, re.DOTALL | re.MULTILINE)
    assert inside is not None and inside[2] == hostile
    assert compile(re.findall(r"```python\n(.*?)\n```\n", text, re.DOTALL)[-1], "card", "exec")


@pytest.mark.parametrize(
    "wording",
    [
        DEFAULT_WORDING,
        replace(DEFAULT_WORDING, system="", question="{routes}\n{question} {instruction} {k} {number} {routes}"),
        replace(DEFAULT_WORDING, without_routes="<{think}> {answer} {number}", question=" {instruction}: {question} "),
    ],
)
@pytest.mark.parametrize("question", ["3 plus 4", " {k} {question} <answer> "])
def test_the_messages_of_the_card_are_those_of_the_run(config: Config, wording: Wording, question: str) -> None:
    task = TinyTask()
    task.wording = wording
    found = surface(config, task, tiny_tokenizer()).wording()
    assert messages(question, (), found, Tags()) == messages(question, (), wording, Tags())


def test_a_surface_is_read_back(trained: Path, config: Config, tmp_path: Path) -> None:
    assert read_surface(trained / "model") == surface(config, TinyTask(), tiny_tokenizer())
    assert read_surface(tmp_path) is None
    (tmp_path / "README.md").write_text("---\nrealm: {user: no place for one}\n---\n")
    with pytest.raises(DataError, match=r"README.md: realm.user: .*\{question\}"):
        read_surface(tmp_path)


def test_an_edited_card_survives_a_resume_and_a_missing_one_is_written(
    trained: Path, config: Config, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / trained.name)
    own = config.changed({"run.dir": str(tmp_path)})
    (run / "model" / "README.md").write_text("# Mine")
    train(own, resume=True)
    assert (run / "model" / "README.md").read_text() == "# Mine"
    (run / "model" / "README.md").unlink()
    train(own, resume=True)
    assert (run / "model" / "README.md").read_text() == (trained / "model" / "README.md").read_text()


def test_a_card_of_an_earlier_evaluation_is_told(trained: Path, config: Config, tmp_path: Path) -> None:
    """An evaluation may be set otherwise as a run goes on; a card stays, as it may be edited."""
    run = shutil.copytree(trained, tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    assert not outdated(run, config, TinyTask())
    assert outdated(run, config.changed({"evaluation.max_completion_length": 7}), TinyTask())
    rows = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    other = [row | ({"accuracy": 0.25} if row["stage"] == "final" else {}) for row in rows]
    (run / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    assert outdated(run, config, TinyTask())
    (run / "model" / "README.md").write_text("# Mine")
    assert not outdated(run, config, TinyTask())


def test_licences_that_are_none(tmp_path: Path) -> None:
    assert license_of(None) == license_of("owner/name") == license_of(str(tmp_path)) == "not known"
    assert license_of("desk-base") == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlicense: '![x](y)'\n---\n")
    assert license_of(str(tmp_path)) == "not known"
    (tmp_path / "LICENSE").write_text("\n  `Some` <b>licence</b>\n")
    assert license_of(str(tmp_path)) == "`’Some’ <b>licence</b>` (LICENSE)"
