"""What a job is given, checked before it is sent: which one, what came, what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.columns import Input

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Columns, Workload


def check_params(
    workload: Workload, given: Mapping[str, Any], inputs: Mapping[str, Columns] | None = None
) -> Any:
    """Those parameters as ``workload.params_type``, defaults filled in.

    With ``inputs`` it is also looked up that each is there and has rows and the columns needed, of
    types that fit; values are looked at by the worker. Raises BadParameterError: an unknown name, a
    value of the wrong type or outside its limits, values that do not fit together, a missing column
    or one of the wrong type.
    """
    fields = _fields(workload.params_type)
    for name in given:
        if name not in fields:
            raise _unknown(workload, name, list(fields))
    values = {name: _convert(workload, fields[name], value) for name, value in given.items()}
    params = workload.params_type(**values)
    if inputs is not None:
        _check_inputs(workload, inputs)
    return params


@cache
def _fields(params_type: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """By name; kept, because msgspec evaluates the annotations anew each time (0.1 ms)."""
    return {field.name: field for field in msgspec.structs.fields(params_type)}


def describe_params(params_type: type[msgspec.Struct]) -> list[str]:
    """Each parameter as ``name=default``, for help texts."""
    return [f"{field.name}={field.default!r}" for field in msgspec.structs.fields(params_type)]


def _check_inputs(workload: Workload, inputs: Mapping[str, Columns]) -> None:
    for name, columns in workload.inputs.items():
        given = Input(inputs, name)
        for column, kind in columns.items():
            if given.has(column):
                given.check_type(column, kind)
            elif not kind.endswith("optional"):
                raise given.missing(column)


def _convert(workload: Workload, field: msgspec.structs.FieldInfo, value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") and hasattr(value, "dtype") else value
    try:
        return msgspec.convert(plain, field.type)
    except msgspec.ValidationError as error:
        raise BadParameterError(
            f"parameter {field.name!r} of {workload.name} is {plain!r}: "
            f"{_words(str(error), field.type)}",
            hint=f"the default is {field.default!r}",
            parameter=field.name,
        ) from None


def _words(message: str, kind: Any) -> str:
    """msgspec's sentence, begun small and without its marks."""
    if get_origin(kind) is Literal:
        return f"not one of {', '.join(map(repr, get_args(kind)))}"
    text = message.replace("`", "")
    return text[:1].lower() + text[1:]


def _unknown(workload: Workload, name: str, known: list[str]) -> BadParameterError:
    return BadParameterError(
        f"{workload.name} has no parameter {name!r}; it has {', '.join(known) or 'none'}",
        hint=did_you_mean(name, [*known, *workload.inputs], "leave it out"),
        parameter=name,
    )
