"""Errors that belong to a boundary: each says what was expected, what was found, where, and what to do.

A `UserError` is the user's to mend: the command line prints its message without a traceback and exits with 2.
Anything else that escapes is ours: it keeps its traceback and exits with 1.
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can mend. The message is one or two lines: what, where, and what to do."""


class ConfigError(UserError):
    """A configuration that cannot be run: unknown key, value out of range, settings that contradict each other."""


class DataError(UserError):
    """A file of questions, answers or CoTs that cannot be used as it is; names the file and the line."""


class ModelError(UserError):
    """A model directory that is not one, or a model that does not fit the task (context too short, no tokenizer)."""


class TeacherError(UserError):
    """A teacher that cannot be asked: wrong kind, no key, endpoint refused."""


class TrainingError(UserError):
    """A training that cannot go on with its settings: its loss or its gradient is no longer a number."""


class ResourceError(UserError):
    """The machine cannot hold the run: full disk, no permission, run name already used."""
