"""GRPO's loss and the terms of companions beside it, on rows that travel with the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import pad

from realm.errors import ConfigError
from realm.method.outside import called
from realm.student.head import Head, by_parts, states_and_head, vocabulary
from realm.student.ways import known
from realm.traces.doors import a_number, blamed, given_back, several, told, where
from realm.training.checkpoints import Remembering
from realm.training.companions.base import Companion, Ids, Row, Seen
from realm.training.frugal import FrugalGRPOTrainer
from realm.training.shared_prefix import causal_model, take_apart, two_passes


def as_tensors(
    rows: Sequence[Ids | None], pad: int, device: torch.device, least: tuple[int, int] = (1, 1)
) -> dict[str, torch.Tensor]:
    """The rows as TRL pads a batch: (B, P) prompts padded on the left, (B, C) completions on the right, and masks.

    None is a prompt and a completion of one masked token.

    Args:
        least: P and C are no less.
    """
    width = max([len(row[0]) for row in rows if row], default=1)
    length = max([len(row[1]) for row in rows if row], default=1)
    width, length = max(width, least[0]), max(length, least[1])
    shape = (len(rows), width + length)
    ids, mask = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        if row is not None:
            start, end = width - len(row[0]), width + len(row[1])
            ids[number, start:end] = torch.tensor([*row[0], *row[1]])
            mask[number, start:end] = 1
    return {
        "prompt_ids": ids[:, :width].to(device),
        "prompt_mask": mask[:, :width].to(device),
        "ids": ids[:, width:].to(device),
        "mask": mask[:, width:].to(device),
    }


class Memory(Remembering):
    """What companions know of earlier batches."""

    FILE = "companions.json"
    WHAT = "what training.rl.companions remember"

    def __init__(self, companions: Sequence[Companion]) -> None:
        self._companions = companions

    def state(self) -> list[dict[str, float]]:
        return [one.memory for one in self._companions]

    def take(self, found: Any) -> None:
        for companion, memory in zip(self._companions, found, strict=True):
            companion.memory.clear()
            companion.memory.update({str(name): float(value) for name, value in memory.items()})


class CompanionTrainer(FrugalGRPOTrainer):
    """FrugalGRPOTrainer with the terms of companions in its loss (see `companions.base`).

    The only change is in `_compute_loss`. A batch carries the rows of companion n as `n/ids`, `n/mask` (B, C),
    `n/prompt_ids`, `n/prompt_mask` (B, P), `n/weight`, `n/figure` (B, 1) and, where there is a teacher, `n/teacher_…`
    likewise; see `as_tensors`. Without companions, and with weight 0, it is FrugalGRPOTrainer.
    """

    def __init__(self, *args: Any, companions: Sequence[Companion] = (), **kwargs: Any) -> None:
        self.companions = [one for one in companions if one.weight]
        super().__init__(*args, **kwargs)
        if any(one.watches for one in self.companions):
            self.add_callback(Memory(self.companions))

    def accompany(self, seen: Seen, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """What the generated batch carries along besides: the rows of all companions."""
        device = self.accelerator.device
        tokenizer: Any = self.processing_class
        pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        model: Any = self.accelerator.unwrap_model(self.model)
        vocabulary = int(model.get_input_embeddings().num_embeddings)
        carried: dict[str, torch.Tensor] = {}
        for number, companion in enumerate(self.companions):
            at = _at(companion)
            what = "a realm.training.companions.base.Row, or None, for each completion"
            rows = given_back(at, partial(companion.rows, seen), what, partial(a_row, vocabulary), seen.sampled)
            tensors = as_tensors([(row.prompt, row.completion) if row else None for row in rows], pad, device)
            tokens = tensors["prompt_mask"].sum() + tensors["mask"].sum()
            tensors["weight"] = torch.tensor([row.weight if row else 0.0 for row in rows], device=device)
            tensors["figure"] = torch.tensor([[row.figure if row else 0.0] for row in rows], device=device)
            if any(row and row.teacher for row in rows):
                # As wide as the batch: a teacher that reads what was sampled reads the very same tensors.
                widths = batch["prompt_ids"].shape[1], batch["completion_ids"].shape[1]
                teacher = as_tensors([row.teacher if row else None for row in rows], pad, device, widths)
                tokens = tokens + teacher["prompt_mask"].sum() + teacher["mask"].sum()
                tensors |= {f"teacher_{name}": value for name, value in teacher.items()}
            self.state.num_input_tokens_seen += int(self.accelerator.gather(tokens).sum())
            for name, value in given_back(
                at, partial(_figures, companion), "figures, each a number by its name", a_figure
            ):
                self._metrics["train"][f"companions/{name}"].append(value)
            carried |= {f"{number}/{name}": value for name, value in tensors.items()}
        return carried

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if not model.training:
            return loss
        rows = self.args.per_device_train_batch_size * self.current_gradient_accumulation_steps
        for number, companion in enumerate(self.companions):
            start = f"{number}/"
            part = {name.removeprefix(start): value for name, value in inputs.items() if name.startswith(start)}
            live = (part["mask"].sum(1) > 0).nonzero()[:, 0]
            named = f"companions/{type(companion).__name__.lower()}"
            self._metrics["train"][named].append(len(live) / len(part["mask"]))
            entropy = loss.new_zeros(2)  # sum, tokens
            if len(live):
                part = {name: value[live] for name, value in part.items()}
                losses, entropy = self._beside(model, companion, part)
                loss = loss + companion.weight / rows * (part["weight"] * losses).sum()
            if companion.watches:
                total, tokens = self.accelerator.reduce(entropy, reduction="sum").tolist()
                with blamed(_at(companion)):
                    companion.watch(total / tokens if tokens else float("nan"), self._metrics["train"]["entropy"][-1])
        return loss

    def _beside(
        self, model: Any, companion: Companion, part: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows,) the loss of each row of a micro-batch, and (2,) sum and number of their tokens' entropies."""
        ids, mask = torch.cat([part["prompt_ids"], part["ids"]], 1), torch.cat([part["prompt_mask"], part["mask"]], 1)
        width, counted = part["ids"].shape[1], part["mask"]
        teacher = None
        # The bare model: how many processes have something to learn here differs, and a wrapper may wait for all.
        bare = self.accelerator.unwrap_model(model)
        if "teacher_ids" in part:
            shown = torch.cat([part["teacher_prompt_ids"], part["teacher_ids"]], 1)
            shown_mask = torch.cat([part["teacher_prompt_mask"], part["teacher_mask"]], 1)
            start, counted = part["teacher_prompt_ids"].shape[1], _common(part)
            if companion.soft:
                with self.accelerator.autocast():
                    with torch.no_grad():
                        expected, _ = self._states(bare, shown, shown_mask, start, counted.shape[1])
                    states, head = self._states(bare, ids, mask, part["prompt_ids"].shape[1], counted.shape[1])
                    found = divergence(bare, head, self.temperature, states, expected)
                return own_mean(found, counted), found.new_zeros(2)
            with torch.no_grad():
                teacher, _, _ = self._get_per_token_logps_and_entropies(bare, shown, shown_mask, shown.shape[1] - start)
            teacher = teacher[:, : counted.shape[1]]
        log_probs, entropies, _ = self._get_per_token_logps_and_entropies(
            bare, ids, mask, width, compute_entropy=companion.watches
        )
        log_probs = log_probs[:, : counted.shape[1]]
        factor = _factor(companion, log_probs.detach(), part["figure"], teacher)
        seen = log_probs.new_zeros(2)
        if entropies is not None:
            seen = torch.stack([(entropies.detach() * part["mask"]).sum(), part["mask"].sum()]).float()
        return -own_mean(factor * log_probs, counted), seen

    def _states(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, start: int, width: int
    ) -> tuple[torch.Tensor, Head]:
        """The states (B, width, ·) that expect the tokens from `start` on, and the head that reads them."""
        causal, keep = causal_model(model), ids.shape[1] - start
        batch = take_apart(ids, mask, keep)
        fit = self._share and batch.pays and self._refusal(model) is None
        if fit and self._agrees(model, batch, ids, mask, keep):
            places = torch.arange(min(width, batch.inputs.shape[1]), device=ids.device)
            with two_passes(causal, batch):
                _, states, head = states_and_head(model, causal, places, input_ids=batch.inputs, use_cache=False)
            return pad(states, (0, 0, 0, width - len(places))), head
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        options: dict[str, Any] = {"position_ids": positions} if "position_ids" in known(causal) else {}
        places = torch.arange(start - 1, start - 1 + width, device=ids.device)
        _, states, head = states_and_head(
            model, causal, places, input_ids=ids, attention_mask=mask, use_cache=False, **options
        )
        return states, head


def _at(companion: Companion) -> str:
    return where("companions", called(type(companion)))


def a_row(vocabulary: int, found: Any, _: Any) -> Row | None:
    """A row of token ids of such a vocabulary and finite numbers, or None; raises `ValueError`, as below."""
    if found is None:
        return None
    if not isinstance(found, Row):
        raise ValueError(told(found))
    teacher = found.teacher or ((), ())
    parts = [found.prompt, found.completion, *(teacher if isinstance(teacher, tuple | list) else [teacher])]
    if len(parts) != 4 or not all(several(ids) and all(hasattr(one, "__index__") for one in ids) for ids in parts):
        raise ValueError("a Row whose prompt, completion or teacher are no token ids")
    if outside := [int(one) for ids in parts for one in ids if not 0 <= int(one) < vocabulary]:
        raise ValueError(f"a Row with the token id {outside[0]}, of a vocabulary of {vocabulary}")
    for value in (found.weight, found.figure):
        a_number(value)
    return found


def _figures(companion: Companion) -> Any:
    found: Any = companion.figures()
    return found.items() if isinstance(found, Mapping) else found


def a_figure(found: Any, _: Any) -> tuple[str, float]:
    """A name and a number, which may be none (NaN)."""
    try:
        name, value = found
        return str(name), float(value)
    except (TypeError, ValueError):
        raise ValueError(told(found)) from None


def _factor(
    companion: Companion, log_probs: torch.Tensor, figures: torch.Tensor, teacher: torch.Tensor | None
) -> torch.Tensor | float:
    """What each token counts; a number, or as many for each row as it has tokens, or one."""
    at, (rows, width) = _at(companion), log_probs.shape
    with blamed(at):
        found: Any = companion.factor(log_probs, figures, teacher)
    shapes = ((), (rows, 1), (1, width), (rows, width))
    if not isinstance(found, int | float) and not (isinstance(found, torch.Tensor) and tuple(found.shape) in shapes):
        what = f"a tensor {tuple(found.shape)}" if isinstance(found, torch.Tensor) else told(found)
        raise ConfigError(f"{at}: expected a factor (rows, tokens) = {(rows, width)}, found {what}.")
    return found


def _common(part: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, min(C, C')) 1 where a row's completion still reads as its teacher's, token by token; then 0."""
    width = min(part["ids"].shape[1], part["teacher_ids"].shape[1])
    same = part["ids"][:, :width] == part["teacher_ids"][:, :width]
    return same.long().cumprod(1) * part["mask"][:, :width]


def own_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, C) values and mask -> (B,) the mean over each completion's own tokens."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def divergence(
    model: Any, head: Head, temperature: float, student: torch.Tensor, teacher: torch.Tensor
) -> torch.Tensor:
    """(B, C) KL(teacher ‖ student) at each place, of states (B, C, ·) that a model's head reads, at a temperature."""

    def scores(states: torch.Tensor) -> torch.Tensor:
        return (head(states).float() / temperature).log_softmax(-1)

    def apart(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = scores(teacher)
        return (wanted.exp() * (wanted - scores(student))).sum(-1)

    return by_parts(apart, vocabulary(causal_model(model)), student, teacher)
