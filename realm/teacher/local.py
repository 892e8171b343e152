"""A teacher that is a model of this machine: a directory in the Hugging Face format or a Hub name.

No code of a model repository is run and no pickle is read. A sample's text is a function of its prompt and its own
source of randomness: what else is in its batch does not matter (but for rounding in half precision).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.errors import TeacherError
from realm.method.prompt import plain
from realm.sections import TeacherConfig
from realm.tasks.answers import final_answer, problem_of
from realm.tasks.base import Comment, Question
from realm.tasks.spoken import without_run_on
from realm.teacher.base import Ask, Failure, Messages, Reply
from realm.teacher.prompts import TeacherWording

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")


class LocalTeacher:
    """A causal language model that is sampled here, `batch_size` samples side by side.

    Args:
        name: of the teacher in the bank.
        settings: of the section `teachers`: model, dtype, batch_size and sampling (temperature, 0 or null is greedy;
            top_p; max_tokens).
        seed: of the run, part of what names a sample; the randomness itself comes with each `Ask`.
        wording: of the prompts; see `realm.teacher.prompts.make_wording`.

    Raises:
        TeacherError: there is no such model directory, or it lacks its configuration, weights or tokenizer. What is in
            the files is read with the first question, and raises it then.
    """

    concurrent = False

    def __init__(self, name: str, settings: TeacherConfig, seed: int, wording: TeacherWording) -> None:
        self.name = name
        self.batch = settings.batch_size
        self._settings = settings
        self._wording = wording
        self._model_name = _find(name, settings.model or "")
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None
        sampling = settings.sampling
        if sampling.extra:
            raise TeacherError(
                f"teachers.{name}.sampling.extra: a model of this machine knows temperature, top_p and max_tokens "
                f"alone, found {', '.join(sampling.extra)}; remove it."
            )
        self.parameters: Any = {
            "model": settings.model,
            "dtype": settings.dtype,
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
                one to know which), `fatal` where the batch does not fit into the memory.
            TeacherError: the model cannot be loaded.
        """
        return await asyncio.to_thread(self._answer, list(asks))

    async def close(self) -> None:
        self._loaded = None

    def _answer(self, asks: list[Ask]) -> list[Reply]:
        import torch

        if self._loaded is None:
            self._loaded = _load(self.name, self._model_name, self._settings)
        model, tokenizer = self._loaded
        prompts = [self._encode(tokenizer, ask.messages) for ask in asks]
        seeds = [ask.source.getrandbits(63) for ask in asks]
        # Rows with less room than the others are generated apart: in one batch they would run beyond the context.
        groups: dict[int, list[int]] = {}
        for row, room in enumerate(self._room(model, prompts)):
            groups.setdefault(room, []).append(row)
        found: dict[int, list[int]] = {}
        try:
            for room, rows in groups.items():
                chosen = [prompts[row] for row in rows], [seeds[row] for row in rows]
                found.update(zip(rows, _generate(model, tokenizer, *chosen, self._settings, room), strict=True))
        except torch.OutOfMemoryError:
            message = (
                f"out of memory with {len(asks)} samples side by side; lower teachers.{self.name}.batch_size or "
                "sampling.max_tokens"
            )
            raise Failure("memory", message, kind="fatal") from None
        ends = _end_tokens(model, tokenizer)
        return [self._reply(tokenizer, prompt, found[row], ends) for row, prompt in enumerate(prompts)]

    def _encode(self, tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
        """Token ids of the prompt; what question and comments spell out is no special token."""
        import jinja2

        harmless = [{**message, "content": _as_text(tokenizer, message["content"])} for message in messages]
        if not tokenizer.chat_template:
            ids: list[int] = tokenizer(plain(harmless))["input_ids"]
            return ids
        try:
            text = tokenizer.apply_chat_template(harmless, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:
            message = (
                f"the model's chat template refuses the prompt ({error}); if it knows no system message, set "
                f"teachers.{self.name}.system to ''"
            )
            raise Failure("template", message, kind="fatal") from None
        templated: list[int] = tokenizer(str(text), add_special_tokens=False)["input_ids"]
        return templated

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

    def _reply(self, tokenizer: PreTrainedTokenizerBase, prompt: list[int], found: list[int], ends: set[int]) -> Reply:
        finish = "stop" if found and found[-1] in ends else "length"
        text, run_on = without_run_on(str(tokenizer.decode(found, skip_special_tokens=True)).strip())
        answer = final_answer(text)
        return Reply(
            text=text,
            answer=answer,
            problem=problem_of(text, answer, finish),
            prompt_tokens=len(prompt),
            completion_tokens=len(found),
            meta={"finish_reason": finish, **({"run_on": True} if run_on else {})},
        )


def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    seeds: list[int],
    settings: TeacherConfig,
    room: int,
) -> list[list[int]]:
    """Token ids of one completion a prompt, its end token included; at most `room` of them."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    sampling, device = settings.sampling, model.device
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    processors = LogitsProcessorList()
    if sampling.temperature:
        processors.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_p is not None and sampling.top_p < 1.0:
            processors.append(TopPLogitsWarper(sampling.top_p))
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        processors.append(_GumbelNoise(generators))
    ends = _end_tokens(model, tokenizer)
    config = GenerationConfig(max_new_tokens=room, do_sample=False, eos_token_id=sorted(ends), pad_token_id=pad)
    generate: Any = model.generate
    with torch.inference_mode():
        output = generate(ids, attention_mask=mask, generation_config=config, logits_processor=processors)
    return [_ended(row, ends) for row in output[:, longest:].tolist()]


def _ended(row: list[int], ends: set[int]) -> list[int]:
    """The tokens up to the first that ends the completion, that one included."""
    return next((row[: place + 1] for place, token in enumerate(row) if token in ends), row)


class _GumbelNoise:
    """Makes greedy decoding sample: the largest of logits plus Gumbel noise is a draw from their softmax.

    Each row has a generator of its own, so that its draws do not depend on the rows beside it.
    """

    def __init__(self, generators: list[torch.Generator]) -> None:
        self._generators = generators

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        scores = scores.float()
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        # -log of a standard exponential is standard Gumbel; a draw of 0, possible by rounding, must not be infinite.
        return scores - noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_()


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that end a completion: the tokenizer's and those of the model's generation settings."""
    settings: Any = getattr(model, "generation_config", None)
    ends = settings.eos_token_id if settings is not None else None
    return {tokenizer.eos_token_id, *([ends] if isinstance(ends, int) else ends or [])} - {None}


def _as_text(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """`text` without any special token of the tokenizer, which would be read as such wherever it is spelled out."""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    spelled = sorted((token for token in tokens if len(token) > 1), key=len, reverse=True)
    for token in spelled:
        if token in text:
            text = text.replace(token, f"‹{token[1:]}" if token[0] == "<" else f"{token[0]} {token[1:]}")
    return text


def _find(name: str, given: str) -> str:
    """What to hand to transformers: the directory with a model's files, or a Hub name."""
    where = f"teachers.{name}.model"
    folder = Path(given).expanduser()
    if not folder.is_dir():
        if folder.exists() or not _HUB_NAME.fullmatch(given):
            raise TeacherError(f"{where}: {given}: there is no such model directory; give the one with config.json.")
        return given
    if not (folder / "config.json").is_file():
        raise TeacherError(f"{where}: {given}: not a model directory, it has no config.json.")
    if not any(folder.glob("*.safetensors")):
        raise TeacherError(f"{where}: {given}: the model directory has no weights (*.safetensors); save them there.")
    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise TeacherError(f"{where}: {given}: the model directory has no tokenizer; save the model's one there.")
    return str(folder)


def _load(name: str, model_name: str, settings: TeacherConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer, on the accelerator where there is one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model_name, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model_name,
            dtype=getattr(torch, settings.dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # broken files make these libraries raise anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise TeacherError(f"teachers.{name}.model: {settings.model}: the model cannot be loaded: {line}") from error
    model, info = loaded
    if info["missing_keys"]:
        raise TeacherError(
            f"teachers.{name}.model: {settings.model}: {len(info['missing_keys'])} of the model's weights are not in "
            f"its files (first: {min(info['missing_keys'])}); config.json and weights do not belong together."
        )
    if tokenizer.eos_token_id is None:
        raise TeacherError(
            f"teachers.{name}.model: {settings.model}: the tokenizer has no end token (eos_token); "
            "set it in tokenizer_config.json."
        )
    # Its end tokens are kept; penalties and the like that the directory brings along do not apply.
    model.generation_config = GenerationConfig(eos_token_id=sorted(_end_tokens(model, tokenizer)))
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
