"""The teachers and the guidance that a configuration names."""

from collections.abc import Callable, Mapping

from realm.config import Config
from realm.plugins import take
from realm.sections import TeacherConfig
from realm.tasks.base import Task
from realm.tasks.hints import answer_hint
from realm.teacher.base import Teacher, Wanted
from realm.teacher.comments import read_comments
from realm.teacher.guidance import Guidance
from realm.teacher.instructing import Topic, topic_wording
from realm.teacher.plan import Source
from realm.teacher.prompts import TeacherWording, make_wording


def make_guidance(config: Config, task: Task) -> Guidance:
    """The expert's comments, of the file `guidance.comments` or else the task's own, and when they are shown.

    Raises:
        DataError: a file that cannot be read, or without any comment.
    """
    path = config.guidance.comments
    return Guidance(task.comments if path is None else read_comments(path), config.guidance)


def make_sources(
    config: Config,
    task: Task,
    guidance: Guidance,
    *,
    keyless: bool = False,
    topics: Mapping[str, Topic] | None = None,
) -> list[Source]:
    """The teachers with a share, in the order of the configuration.

    Args:
        keyless: do without the keys of endpoints: to see what would be sent, never to ask.
        topics: what they are asked about instead of questions, by id, all of one kind (`realm.teacher.instructing`).

    Raises:
        ConfigError: a scripted teacher for another task than the desk, a prompt without {question}, and the like.
        TeacherError: the key of an endpoint or the directory of a model is missing.
    """
    guided = bool(guidance.comments) and guidance.settings.probability > 0
    found = []
    for name, settings in config.teachers.items():
        if settings.share:
            known = settings.model_copy(update={"api_key_env": None}) if keyless else settings
            found.append(Source(_make_teacher(name, known, config, task, guided, topics), settings))
    return found


def _make_teacher(
    name: str,
    settings: TeacherConfig,
    config: Config,
    task: Task,
    guided: bool,
    topics: Mapping[str, Topic] | None,
) -> Teacher:
    make: Callable[[Wanted], Teacher] = take("teachers", settings.kind, f"teachers.{name}.kind")

    def wording() -> TeacherWording:
        hint = answer_hint(task.verifier.name, config.task.choices)
        if topics is None:
            return make_wording(name, settings, hint, guided)
        return topic_wording(settings, next(iter(topics.values())).work, hint)

    return make(Wanted(name, settings, config, task, wording, topics))
