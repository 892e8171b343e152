"""The students of tests/student."""

from __future__ import annotations

from tests.student.conftest import model_directory, new_model, tokenizer

__all__ = ["model_directory", "new_model", "tokenizer"]
