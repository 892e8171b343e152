"""What is found out with routes is learned without them: which completions, under which prompt, with which loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from realm.bank.store import Bank
from realm.files import read_jsonl
from realm.method.completion import parse, speaks_of_routes
from realm.method.reward import Reward
from realm.method.routes import Route
from realm.student.prompts import encode
from realm.student.renderer import Renderer
from realm.student.scoring import Scored
from realm.training.companion import as_tensors, own_mean
from realm.training.companions.internalize import moved, up_to, without_scores
from realm.training.grpo import RouteTrainer
from realm.training.rewards import Group
from tests.tiny import CONTEXT, TAGS, TinyTask, go, tiny_config, tiny_tokenizer, tiny_trainer, weights
from tests.training.dictated import completions

ROUTES = (Route("r1", "2 plus 3 is odd", "1", 1), Route("r2", "2 plus 3 is even", "0", 0))
RIGHT = "<think> 2 plus 3 is odd </think> <answer> 1 </answer>"


def scored(text: str, correct: bool = True, routes: int = 2) -> Scored:
    return Scored(text, parse(text, routes), correct, Reward(0, 0, 0, 0, 1), verifier_failed=False)


@pytest.fixture
def renderer(tmp_path: Path, task: TinyTask, bank: Bank) -> Renderer:
    config = tiny_config(tmp_path, Path("unused"))
    return Renderer(config, task, bank, tiny_tokenizer(), CONTEXT)


def group(renderer: Renderer, *items: Scored, routes: tuple[Route, ...] = ROUTES) -> Group:
    question = next(iter(renderer.questions.values()))
    return Group(question, "prompt", routes, 1.0, 0, items, (False,) * len(items))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{RIGHT} <scores> 1, 0 </scores>", RIGHT),
        (f"{RIGHT} < Scores > 1, 0", RIGHT),
        (RIGHT, RIGHT),
        (f"{RIGHT} <scoreboard>", f"{RIGHT} <scoreboard>"),
    ],
)
def test_the_scores_go(text: str, kept: str) -> None:
    assert without_scores(text, TAGS) == kept


@pytest.mark.parametrize(
    ("think", "question", "found"),
    [
        ("2 plus 3 is odd", "2 plus 3", False),
        ("route 1 is right", "2 plus 3", True),
        ("Both Routes say so", "2 plus 3", True),
        ("the reroute is rooted", "2 plus 3", False),
        ("the shorter route takes 5 hours", "Two routes lead to the town.", False),
        ("the bus of route 7 is late", "Which bus of Route 7 is late?", False),
        ("the route is 3 km long", "How long is route 7?", False),
        ("route 7 is late, as route 2 says", "Is route 7 late?", True),
        ("route 1 is right", "Which route is shorter?", True),
    ],
)
def test_a_thought_that_speaks_of_routes_is_told_from_the_question_s_own_word(
    think: str, question: str, found: bool
) -> None:
    assert speaks_of_routes(think, question) == found


def test_only_right_readable_completions_with_routes_that_most_agree_with_move(renderer: Renderer) -> None:
    tokenizer = tiny_tokenizer()
    other = RIGHT.replace("odd", "odd is odd")
    items = [
        scored(f"{RIGHT} <scores> 1, 0 </scores>"),
        scored(f"{RIGHT} <scores> 0, 0 </scores>"),  # the same but for its scores
        scored(f"{RIGHT} <scores> 1, 0 </scores>", correct=False),
        scored(f"{other} <scores> 1, 0 </scores>"),
        scored("<think> route 1 is right </think> <answer> 1 </answer> <scores> 1, 0 </scores>"),
        scored("2 plus 3 is odd <answer> 1"),
    ]
    alone = group(renderer, scored(RIGHT, routes=0), routes=())
    sampled = [tokenizer(item.text)["input_ids"] + [tokenizer.eos_token_id] for item in [*items, *alone.scored]]
    rows = moved([group(renderer, *items), alone], sampled, renderer)
    assert [row is not None for row in rows] == [True, False, False, False, False, False, False]
    assert rows[0] is not None
    prompt, completion = rows[0]
    assert prompt == encode(tokenizer, renderer.fit(next(iter(renderer.questions))).messages)
    assert tokenizer.decode(completion) == f"{RIGHT} <|end|>"


def test_what_most_of_a_question_s_right_completions_read_like_moves_once(renderer: Renderer) -> None:
    right, same = f"{RIGHT} <scores> 1, 0 </scores>", f"{RIGHT} <scores> 0, 0 </scores>"
    lucky, other = right.replace("odd", "even"), right.replace("odd", "odd is odd")

    def moves(*groups: tuple[str, ...]) -> list[bool]:
        items = [group(renderer, *map(scored, texts)) for texts in groups]
        sampled = [tiny_tokenizer()(text)["input_ids"] for texts in groups for text in texts]
        return [row is not None for row in moved(items, sampled, renderer)]

    assert moves((lucky, right, same, other)) == [False, True, False, False]
    assert moves((lucky, right, other)) == [True, True, True], "no two read alike, so none is better than another"
    assert moves((lucky, right), (same, other)) == [False, True, False, False], "both groups are of one question"
    assert moves((lucky, lucky, same), (right,)) == [True, False, True, False], "two each"


def test_what_moves_are_the_sampled_tokens() -> None:
    tokenizer = tiny_tokenizer()
    start, end = tokenizer.convert_tokens_to_ids("<|assistant|>"), tokenizer.eos_token_id
    kept, scores = tokenizer(RIGHT)["input_ids"], tokenizer("<scores> 1, 0, </scores>")["input_ids"]
    assert up_to(tokenizer, [start, *kept, *scores, end], f"<|assistant|> {RIGHT}") == [start, *kept, end]
    assert up_to(tokenizer, [*kept, end], RIGHT) == [*kept, end]
    assert up_to(tokenizer, scores, RIGHT) == [*kept, end], "tokens that read otherwise are read anew"


def test_rows_are_padded_as_a_batch_is() -> None:
    found = as_tensors([([1, 2], [3]), None, ([4], [5, 6])], 0, torch.device("cpu"))
    assert found["prompt_ids"].tolist() == [[1, 2], [0, 0], [0, 4]]
    assert found["ids"].tolist() == [[3, 0], [0, 0], [5, 6]]
    assert found["mask"].tolist() == [[1, 0], [0, 0], [1, 1]]
    assert found["prompt_mask"].tolist() == [[1, 1], [0, 0], [0, 1]]


def test_long_completions_weigh_no_more_than_short_ones() -> None:
    log_probs = torch.tensor([[-1.0, -9.0], [-1.0, -3.0]])
    assert own_mean(log_probs, torch.tensor([[1, 0], [1, 1]])).tolist() == [-1.0, -2.0]


Make = Callable[..., RouteTrainer]


@pytest.fixture
def make(tmp_path: Path, student: Path, task: TinyTask, bank: Bank) -> Make:
    def make(weight: float, by: str = "sft", **rl: Any) -> RouteTrainer:
        settings = {"steps": 3, "companions": [{"internalize": {"weight": weight, "by": by}}], **rl}
        config = tiny_config(tmp_path, student, rl=settings)
        return tiny_trainer(config, tmp_path / "out")

    return make


def gradients(trainer: RouteTrainer, batch: dict[str, Any], parts: int = 1) -> dict[str, torch.Tensor]:
    """Of an optimizer step on the batch, in so many micro-batches."""
    from trl.trainer.utils import split_tensor_dict

    model = trainer.model
    assert isinstance(model, torch.nn.Module)
    model.train()
    model.zero_grad()
    trainer.current_gradient_accumulation_steps = parts
    for part in split_tensor_dict(batch, parts):
        trainer._compute_loss(model, part).backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def generated(trainer: RouteTrainer) -> dict[str, Any]:
    model = trainer.model
    assert isinstance(model, torch.nn.Module)
    model.train()
    rows = [row for row in list(trainer.train_dataset)[4:8] for _ in range(4)]  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:  # rounding must not decide how many of them are right
        patch.setattr(RouteTrainer, "_generate_single_turn", completions())
        return trainer._generate_and_score_completions(rows)


def sampled(batch: dict[str, Any], row: int) -> tuple[list[int], list[int]]:
    """Prompt and completion as they were sampled."""
    prompt = batch["prompt_ids"][row][batch["prompt_mask"][row] == 1].tolist()
    return prompt, batch["completion_ids"][row][batch["completion_mask"][row] == 1].tolist()


def moves(trainer: RouteTrainer, batch: dict[str, Any]) -> Any:
    groups = trainer.reward_funcs[0].groups  # type: ignore[union-attr]
    completions = [sampled(batch, row)[1] for row in range(len(batch["completion_ids"]))]
    return moved(groups, completions, trainer.renderer)


def test_the_loss_is_the_mean_log_probability_without_routes(make: Make) -> None:
    """By hand: each moved completion alone behind its question, through the plain model."""
    trainer = make(1.0)
    batch = generated(trainer)
    both = gradients(trainer, batch)
    trainer.companions = []
    plain = gradients(trainer, batch)
    model = trainer.model
    assert isinstance(model, torch.nn.Module)
    rows = moves(trainer, batch)
    assert sum(row is not None for row in rows) > 1
    model.zero_grad()
    for row in rows:
        if row is not None:
            ids = torch.tensor([[*row[0], *row[1]]])
            log_probs = model(input_ids=ids).logits[0, len(row[0]) - 1 : -1].log_softmax(-1)
            (-log_probs.gather(1, torch.tensor(row[1])[:, None]).mean() / len(rows)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(both[name] - plain[name], parameter.grad, atol=2e-5, rtol=1e-3)


def predictions(model: torch.nn.Module, prompt: list[int], completion: list[int], temperature: float) -> torch.Tensor:
    """(C, V) log-probabilities of every token at each place of the completion, by the plain model."""
    logits: torch.Tensor = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0] / temperature
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_other_loss_by_hand(make: Make, temperature: float) -> None:
    """Over the tokens that both completions share: all but the scores and the end."""
    trainer = make(1.0, "distill", temperature=temperature)
    batch = generated(trainer)
    model, total = trainer.model, 0.0
    assert isinstance(model, torch.nn.Module)
    both, beside = gradients(trainer, batch), trainer._compute_loss(model, batch)
    trainer.companions = []
    plain, without = gradients(trainer, batch), trainer._compute_loss(model, batch)
    rows = moves(trainer, batch)
    assert any(row is not None for row in rows)
    model.zero_grad()
    for number, row in enumerate(rows):
        if row is None:
            continue
        prompt, completion = sampled(batch, number)
        shared = len(row[1]) - 1
        assert completion[:shared] == row[1][:shared]
        alone = predictions(model, *row, temperature)[:shared]
        shown = predictions(model, prompt, completion, temperature)[:shared].detach()
        loss = torch.nn.functional.kl_div(alone, shown, log_target=True, reduction="none").sum(-1).mean()
        (loss / len(rows)).backward()
        total += loss.item() / len(rows)
    assert (beside - without).item() == pytest.approx(total, rel=1e-3, abs=1e-6)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(both[name] - plain[name], parameter.grad, atol=2e-5, rtol=2e-3)


def test_micro_batches_add_up_to_the_batch(make: Make) -> None:
    whole, halved = make(2.0, micro_batch_size=16), make(2.0, micro_batch_size=8)
    wanted = gradients(whole, generated(whole))
    found = gradients(halved, generated(halved), parts=2)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=2e-5, rtol=1e-3)


def test_it_is_measured_and_changes_the_student(tmp_path: Path, student: Path) -> None:
    trained, spent = {}, {}
    for weight in (0.0, 2.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        companions = [{"internalize": {"weight": weight}}]
        config = tiny_config(folder, student, rl={"companions": companions}, eval_questions=0)
        run = go(config)
        trained[weight] = weights(run.path / "model")
        tables = [row.get("companions") for row in read_jsonl(run.path / "metrics.jsonl")]
        shares = [table and table["internalize"] for table in tables]
        assert all(share is None for share in shares) if weight == 0 else max(shares) > 0
        spent[weight] = read_jsonl(run.path / "metrics.jsonl")[0]["tokens"]
        if weight:
            assert shares[-1] == 0, "nothing is left to move where no route is shown any more"
    assert any(not torch.equal(trained[0.0][name], trained[2.0][name]) for name in trained[0.0])
    assert spent[2.0] > spent[0.0], "the first step is the same but for the moved completions"
