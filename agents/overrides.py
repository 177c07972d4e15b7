"""Fields of an agent by path, such as `core.layers`: on a command line, in its name, and in its configuration.

`--agent nethack/lstm/256 --core.layers 2` is the agent `nethack/lstm/256+core.layers=2`: its name says what was changed
in the agent of the ladder, in order of the paths, and finds the same network again.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from data.common.cli import UserError

_OPTION = re.compile(r"--(?:agent\.)?([A-Za-z_][\w.-]*)(?:=(.*))?")
_CHANGE = re.compile(r"\+(?=[A-Za-z_][\w.]*=)")

_NOT_OURS = ("name", "actions", "fields", "dtype", "remat", "im2col", "platform")
"""Fields that follow from the game, or from options of their own (`--compute`, `--remat`) and the backend."""


def fold(words: Sequence[str]) -> list[str]:
    """The words of a command line, with options that have a dot in their name put into the value of `--agent`.

    `--core.layers 2` becomes `+core.layers=2`. A field of the agent itself has the path `--agent.FIELD`. Without
    `--agent` the words stay as they are.

    Raises: UserError: an option lacks its value.
    """
    if not any(word.partition("=")[0] == "--agent" for word in words):
        return list(words)
    kept, changes, rest = [], [], iter(words)
    for word in rest:
        match = _OPTION.fullmatch(word)
        if match is None or "." not in word.partition("=")[0]:
            kept.append(word)
            continue
        value = next(rest, "--") if match[2] is None else match[2]
        if value.startswith("--") or not value:
            raise UserError(f"{word} needs a value, for example {word} 2")
        changes.append(f"+{match[1].replace('-', '_')}={value}")
    place = max(index for index, word in enumerate(kept) if word.partition("=")[0] == "--agent")
    place += kept[place] == "--agent"
    if place < len(kept):
        kept[place] += "".join(changes)
    return kept


def parsed(name: str) -> tuple[str, dict[str, str]]:
    """The name of the agent that is changed, and the new values by path; of a path given twice the last."""
    base, *changes = _CHANGE.split(name)
    return base, dict(change.split("=", 1) for change in changes)  # pyright: ignore[reportArgumentType, reportReturnType]


def core_and_size(name: str) -> tuple[str, str | None]:
    """Core and size of an agent as result rows have them: of `nethack/lstm/64` these are `lstm` and `64`.

    Of an agent `module:function` this is the core, and what was changed in it the size.
    """
    base, _ = parsed(name)
    if ":" in base:
        return base, name[len(base) + 1 :] or None
    _, core, size = name.split("/", 2)
    return core, size


def overridden(agent: Any, changes: Mapping[str, str]) -> Any:
    """The agent with other values of some fields, and with a name that says so unless the values are as before.

    Raises: UserError: there is no such field, or a value is of another type or out of range.
    """
    before = settings(agent)
    listed = ", ".join(f"{path}={_text(value)}" for path, (value, _) in before.items())
    for path in changes:
        if path not in before:
            raise UserError(f"{agent.name} has no field {path}: choose from {listed}")
    try:
        values = {path: _value(path, text, before[path][1]) for path, text in changes.items()}
        changed = _replaced(agent, values)
    except UserError as error:
        raise UserError(f"{agent.name}: {error}; its fields: {listed}") from None
    new = "".join(f"+{path}={_text(value)}" for path, value in sorted(values.items()) if value != before[path][0])
    return dataclasses.replace(changed, name=agent.name + new)


def settings(config: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Value and type of each field by its path, those of nested dataclasses included."""
    found, hints = {}, get_type_hints(type(config))
    for field in dataclasses.fields(config):
        path, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= settings(value, f"{path}.")
        elif field.name not in _NOT_OURS:
            found[path] = value, hints[field.name]
    return found


def require(config: Any, **least: int) -> None:
    """Raise `UserError` if a field of a configuration is less than is given here."""
    for name, low in least.items():
        if getattr(config, name) < low:
            raise UserError(f"{name} must be at least {low}, not {getattr(config, name)}")


def _replaced(config: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass with these fields, each nested one replaced once, so that its fields are checked together."""
    own = {path: value for path, value in values.items() if "." not in path}
    for name in {path.split(".")[0] for path in values} - set(own):
        inner = {path[len(name) + 1 :]: value for path, value in values.items() if path.startswith(f"{name}.")}
        own[name] = _replaced(getattr(config, name), inner)
    return dataclasses.replace(config, **own)


def _value(path: str, text: str, kind: Any) -> Any:
    """The value that a text stands for in a field of this type."""
    kinds = list(_kinds(kind))
    for one in kinds:
        if one is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if one is NoneType and text.lower() == "none":
            return None
        if one is str or text == one:
            return text
        if one in (int, float):
            try:
                return one(text)
            except ValueError:
                continue
    names = " or ".join(getattr(one, "__name__", repr(one)) for one in kinds)
    raise UserError(f"{path} must be {names}, not {text!r}")


def _kinds(kind: Any) -> Iterator[Any]:
    """The types that a type hint allows; of a `Literal` its values."""
    if get_origin(kind) is Literal or not get_args(kind):
        yield from get_args(kind) or (kind,)
    else:
        for one in get_args(kind):
            yield from _kinds(one)


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
