"""A teacher that is a model of this machine: loaded, prompted and decoded as a student is, with its own settings.

A sample's text is a function of its prompt and its own source of randomness: what else is in its batch does not matter
(but for rounding in half precision).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from realm.errors import ModelError, TeacherError, UserError
from realm.sections import ModelSettings, TeacherConfig
from realm.student.decode import decode
from realm.student.generate import completion_text, end_tokens, to_accelerator
from realm.student.load import find, find_tokenizer, load
from realm.student.prompts import encode, plain_text
from realm.student.sampling import NotFiniteError, Sampling
from realm.tasks.answers import final_answer, problem_of
from realm.tasks.base import Comment, Question
from realm.tasks.spoken import without_run_on
from realm.teacher.base import Ask, Failure, Messages, Reply, Wanted
from realm.teacher.prompts import TeacherWording

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: The student's keys as messages about a model name them, and the teacher's.
_KEYS = {
    "model.path": "model",
    "model.dtype": "dtype",
    "model.template_arguments": "template_arguments",
    "prompt.system": "system",
}


class LocalTeacher:
    """A causal language model that is sampled here, `batch_size` samples side by side.

    Args:
        name: of the teacher in the bank.
        settings: of the section `teachers`: model, dtype, template_arguments, batch_size and sampling (temperature, 0
            or null is greedy; top_p; max_tokens).
        seed: of the run, part of what names a sample; the randomness itself comes with each `Ask`.
        wording: of the prompts; see `realm.teacher.prompts.make_wording`.
        date: the day that chat templates take for today.

    Raises:
        TeacherError: there is no such model directory, or it lacks its configuration, weights or tokenizer. What is in
            the files is read with the first question, and raises it then.
    """

    concurrent = False
    costs: Literal["time"] = "time"

    def __init__(self, name: str, settings: TeacherConfig, seed: int, wording: TeacherWording, date: str) -> None:
        self.name = name
        self.batch = settings.batch_size
        self._settings = settings
        self._wording = wording
        self._model = ModelSettings(
            path=settings.model or "",
            dtype=settings.dtype,
            template_arguments=settings.template_arguments,
            date=date,
        )
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None
        sampling = settings.sampling
        if sampling.extra:
            raise TeacherError(
                f"teachers.{name}.sampling.extra: a model of this machine knows temperature, top_p and max_tokens "
                f"alone, found {', '.join(sampling.extra)}; remove it."
            )
        try:
            find(self._model.path)
            find_tokenizer(self._model.path)
        except UserError as error:
            raise TeacherError(self._told(error)) from error
        self.parameters: Any = {
            "model": settings.model,
            "dtype": settings.dtype,
            "template_arguments": settings.template_arguments,
            "date": date,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed,
        }

    def messages(self, question: Question, comments: Sequence[Comment]) -> Messages:
        return self._wording.messages(question, comments)

    async def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """Generate an answer to each.

        Raises:
            Failure: `request` where a prompt is too long for the model (of several asks: where any is; ask them one by
                one to know which), `fatal` where the batch does not fit into the memory, or the chat template refuses.
            TeacherError: the model cannot be loaded or decoded.
        """
        try:
            return await asyncio.to_thread(self._answer, list(asks))
        except (UserError, NotFiniteError) as error:
            raise TeacherError(self._told(error)) from error

    async def close(self) -> None:
        self._loaded = None

    def _told(self, error: Exception) -> str:
        """What an error about a student says, told of this teacher and its keys."""
        text = f"{error} is not a finite number" if isinstance(error, NotFiniteError) else str(error)
        for key, own in _KEYS.items():
            text = text.replace(key, f"teachers.{self.name}.{own}")
        return text if text.startswith("teachers.") else f"teachers.{self.name}.model: {text}"

    def _answer(self, asks: list[Ask]) -> list[Reply]:
        if self._loaded is None:
            model, tokenizer = load(self._model.path, self._model.dtype, self._model)
            self._loaded = to_accelerator(model), tokenizer
        model, tokenizer = self._loaded
        sampling, ends = self._settings.sampling, end_tokens(model, tokenizer)
        prompts = [self._encode(tokenizer, ask.messages) for ask in asks]
        seeds = [ask.source.getrandbits(63) for ask in asks]
        # Rows with less room than the others are generated apart: in one batch they would run beyond the context.
        groups: dict[int, list[int]] = {}
        for row, room in enumerate(self._room(model, prompts)):
            groups.setdefault(room, []).append(row)
        found: dict[int, list[int]] = {}
        try:
            for room, rows in groups.items():
                tokens = decode(
                    model,
                    [prompts[row] for row in rows],
                    [1] * len(rows),
                    pad=tokenizer.pad_token_id,
                    ends=ends,
                    max_new_tokens=room,
                    pick=Sampling(sampling.temperature, top_p=sampling.top_p).pick([seeds[row] for row in rows], room),
                )
                found.update(zip(rows, tokens, strict=True))
        except torch.OutOfMemoryError:
            message = (
                f"out of memory with {len(asks)} samples side by side; lower teachers.{self.name}.batch_size or "
                "sampling.max_tokens"
            )
            raise Failure("memory", message, kind="fatal") from None
        return [_reply(tokenizer, prompt, found[row], ends) for row, prompt in enumerate(prompts)]

    def _encode(self, tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
        """Token ids of the prompt; what question and comments spell out is no special token."""
        harmless = plain_text(tokenizer)
        try:
            return encode(tokenizer, [{**message, "content": harmless(message["content"])} for message in messages])
        except ModelError as error:
            raise Failure("template", self._told(error), kind="fatal") from None

    def _room(self, model: PreTrainedModel, prompts: list[list[int]]) -> list[int]:
        """Tokens each answer may have: `max_tokens`, or what its prompt leaves of the model's context."""
        wanted = self._settings.sampling.max_tokens
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if context is None:
            return [wanted] * len(prompts)
        longest = max(map(len, prompts))
        if longest >= context:
            message = f"the prompt has {longest} tokens, the model's context {context}; use a model with a longer one"
            raise Failure("too_long", message, kind="request")
        return [min(wanted, context - len(prompt)) for prompt in prompts]


def make_local(wanted: Wanted) -> LocalTeacher:
    """The kind `transformers`."""
    config = wanted.config
    return LocalTeacher(wanted.name, wanted.settings, config.run.seed, wanted.wording(), config.model.date)


def _reply(tokenizer: PreTrainedTokenizerBase, prompt: list[int], found: list[int], ends: set[int]) -> Reply:
    finish = "stop" if found and found[-1] in ends else "length"
    text, run_on = without_run_on(completion_text(tokenizer, found, ends).strip())
    answer = final_answer(text)
    return Reply(
        text=text,
        answer=answer,
        problem=problem_of(text, answer, finish),
        prompt_tokens=len(prompt),
        completion_tokens=len(found),
        meta={"finish_reason": finish, **({"run_on": True} if run_on else {})},
    )
