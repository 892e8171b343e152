"""YAML as its author wrote it: `choices` and what is in `examples` are texts, whatever YAML would make of them.

YAML 1.1 reads a bare `yes`, `no`, `on` or `off` as a boolean, `null` as nothing and `1.50` or `010` as another number.
Answers that a verifier allows, or an example shows, are none of these. Everything else is YAML as ever.
"""

from pathlib import Path
from typing import Any

import yaml

from realm.errors import ConfigError

#: The list of texts, or of mappings to texts, of a section.
_TEXTS = {"task": "choices", "prompt": "examples"}
_TEXT = "tag:yaml.org,2002:str"


def read_yaml(text: str, key: str = "") -> Any:
    """What the text holds. `key`: dotted name of what it is the value of, where it is a part of a configuration.

    What stands in lists named `task.choices` or `prompt.examples`, in one key or in two and at any depth, are words.
    Raises `yaml.YAMLError` for what is no YAML, holds itself, is nested too deeply, or has a key twice.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse(node, set(), set())
        return loader.construct_document(_as_written(node, tuple(key.split(".")), set()))
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error
    finally:
        loader.dispose()


def read_yaml_file(path: Path, what: str) -> Any:
    """What a file holds.

    Raises:
        ConfigError: it cannot be read, or is no YAML; `what`: it should be, for the message.
    """
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot read the {what} ({reason}).") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _refuse(node: yaml.Node, around: set[int], done: set[int]) -> None:
    """Raise `yaml.MarkedYAMLError` for a node that an alias puts into itself: it would unfold without end.

    And for a mapping with a key twice, of which YAML would take the last without a word.

    Args:
        around: the nodes that it is in.
        done: those that have been looked at.
    """
    if id(node) in around:
        raise yaml.MarkedYAMLError(problem="a value that holds itself", problem_mark=node.start_mark)
    if id(node) in done or not isinstance(node, yaml.CollectionNode):
        return
    around.add(id(node))
    keys = set[tuple[str, str]]()
    for one in node.value:
        for part in one if isinstance(one, tuple) else (one,):
            _refuse(part, around, done)
        if isinstance(one, tuple) and isinstance(key := one[0], yaml.ScalarNode):
            if (key.tag, key.value) in keys:
                said = f"the key {key.value!a:.60} is there twice; make one of the two"
                raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
            keys.add((key.tag, key.value))
    around.remove(id(node))
    done.add(id(node))


def _as_written(node: yaml.Node, path: tuple[str, ...], seen: set[tuple[int, str]]) -> yaml.Node:
    """The node with such lists replaced by lists of texts."""
    here = path[-2:]
    if here[1:] == (_TEXTS.get(here[0]),) and isinstance(node, yaml.SequenceNode):
        entries = [_text(one) for one in node.value]
        return yaml.SequenceNode(node.tag, entries, node.start_mark, node.end_mark)
    place = (id(node), path[-1] if path[-1] in _TEXTS else "")
    if isinstance(node, yaml.MappingNode) and place not in seen:
        seen.add(place)  # a mapping may stand in many places
        node.value = [(name, _as_written(value, (*here, *_names(name)), seen)) for name, value in node.value]
    return node


def _text(node: yaml.Node) -> yaml.Node:
    """A scalar as text, or a mapping to such."""
    if isinstance(node, yaml.MappingNode):
        entries = [(name, _text(one) if isinstance(one, yaml.ScalarNode) else one) for name, one in node.value]
        return yaml.MappingNode(node.tag, entries, node.start_mark, node.end_mark)
    return yaml.ScalarNode(_TEXT, node.value) if isinstance(node, yaml.ScalarNode) else node


def _names(key: yaml.Node) -> tuple[str, ...]:
    return tuple(key.value.split(".")) if isinstance(key, yaml.ScalarNode) else ("",)
