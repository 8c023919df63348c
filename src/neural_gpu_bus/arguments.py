"""Arguments of the wrong type: an error that names them, at the call, before anything is done."""

from __future__ import annotations

from operator import index
from typing import Any

from neural_gpu_bus.errors import BadParameterError


def check_text(name: str, value: Any, example: str) -> None:
    """BadParameterError for what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise BadParameterError(
            f"{name} is {value!r}: expected a text", hint=f"e.g. {name}={example}", parameter=name
        )


def check_encodable(name: str, value: str) -> None:
    """BadParameterError for a text that has no UTF-8 (half a surrogate pair)."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadParameterError(
            f"{name} is {value!r}: {error.reason} at character {error.start + 1}",
            hint="use text that can be written as UTF-8",
            parameter=name,
        ) from None


def check_whole_number(name: str, value: Any, least: int, hint: str = "") -> int:
    """The number, also of numpy's kind; BadParameterError for what is none, or below ``least``."""
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise BadParameterError(
            f"{name} is {value!r}: expected a whole number, {least} or more",
            hint=hint or f"e.g. {name}={max(least, 1000)}",
            parameter=name,
        )
    return number


def check_seconds(name: str, value: Any, least: float = 0.0) -> None:
    """BadParameterError for what is no number of seconds, or one below ``least``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value >= least:
        raise BadParameterError(
            f"{name} is {value!r}: expected a number of seconds, {least:g} or more",
            hint=f"e.g. {name}=10, or leave it out for the setting",
            parameter=name,
        )
