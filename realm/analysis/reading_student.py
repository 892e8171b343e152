"""How a student reads a bank: its tokens, and how many routes its prompts can hold."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import AutoConfig

from realm.analysis.stats import Student
from realm.errors import ModelError
from realm.method.prompt import PromptTooLongError, Tags
from realm.method.routes import Route
from realm.student.load import load_tokenizer
from realm.student.load import resolve as resolve_model
from realm.student.prompts import fit_prompt
from realm.tasks.base import Question, as_utf8
from realm.tasks.registry import wording_of


def student(model: str, context: int | None, k: int, info: dict[str, Any]) -> Student:
    """The student whose tokens are counted, with the wording of the bank's task as far as the bank knows it."""

    tokenizer = load_tokenizer(model)
    if context is None:
        settings = AutoConfig.from_pretrained(resolve_model(model), trust_remote_code=False).get_text_config()
        length = getattr(settings, "max_position_embeddings", None)
        if length is None:
            raise ModelError(f"{model}: the model does not tell its context length; give --context.")
        context = max(1, length - min(512, length // 2))
    wording = wording_of(str(info.get("task")), str(info.get("verifier", "")), info.get("choices") or ())
    wording = replace(wording, examples=())  # it is not known whether it is shown any
    limit = context

    def fits(question: Question, routes: Sequence[Route]) -> int | None:
        # A tokenizer refuses lone surrogates.
        asked = replace(question, question=as_utf8(question.question))
        shown = [replace(route, text=as_utf8(route.text), answer=as_utf8(route.answer)) for route in routes]
        try:
            return len(fit_prompt(tokenizer, asked, shown, wording, Tags(), limit)[1])
        except PromptTooLongError:
            return None

    def tokens(text: str) -> int:
        return len(tokenizer(as_utf8(text), add_special_tokens=False)["input_ids"])

    return Student(tokens, fits, limit, k)
