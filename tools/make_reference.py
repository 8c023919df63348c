"""Write the reference pages that restate code: settings, commands, workloads, errors.

``python tools/make_reference.py`` writes them; a test compares them with what the code says now.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from neural_gpu_bus import errors
from neural_gpu_bus.settings import Settings

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def settings_page() -> str:
    """Every setting: environment variable, default, limits, sentence."""
    lines = [
        "# Settings",
        "",
        "Each is an environment variable, a line of `ngb.toml` (in lower case, without `NGB_`),",
        "and an argument of `ngb.open()`; arguments win over variables, variables over the file.",
        "`NGB_CONFIG` names another file than `ngb.toml`. `ngb config` prints the values in force.",
        "",
        "| variable | default | limits | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f"`{field.default}`"
        limits = ", ".join(_limit(rule) for rule in field.metadata)
        lines.append(f"| `NGB_{name.upper()}` | {default} | {limits} | {field.description} |")
    return "\n".join(lines) + "\n"


def _limit(rule: Any) -> str:
    words = {"ge": "at least", "gt": "over", "le": "at most", "lt": "under"}
    return ", ".join(
        f"{word} {getattr(rule, name)}" for name, word in words.items() if hasattr(rule, name)
    )


def errors_page() -> str:
    """Every error class, as a tree, with its exit code and its first sentence."""
    lines = [
        "# Errors",
        "",
        "All carry `what` (what happened, with the values), `hint` (what to do) and their facts as",
        "attributes. The number is the exit code of `ngb`. What each looks like in practice is in",
        "[when things go wrong](../how-to/when-things-go-wrong.md).",
        "",
    ]
    lines += list(_error_tree(errors.NeuralGpuBusError, 0))
    return "\n".join(lines) + "\n"


def _error_tree(kind: type[errors.NeuralGpuBusError], depth: int) -> Iterator[str]:
    sentence = " ".join(inspect.getdoc(kind).split("\n\n")[0].split())  # type: ignore[union-attr]
    builtins = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"]
    also = f", also a `{builtins[0]}`" if builtins and builtins != ["Exception"] else ""
    yield f"{'  ' * depth}- `{kind.__name__}` ({kind.exit_code}{also}): {sentence}"
    # Parts have errors of their own, for themselves: they are there once somebody imported them.
    public = (child for child in kind.__subclasses__() if child.__module__ == kind.__module__)
    for child in public:
        yield from _error_tree(child, depth + 1)


def commands_page() -> str:
    """Every command with its sentence and options."""
    from typer.main import get_command

    from neural_gpu_bus.cli.main import commands

    root: Any = get_command(commands())
    lines = ["# Commands", "", "`ngb COMMAND --help` says the same.", ""]
    for name, command in _commands(root, "ngb"):
        lines += [f"## {name}", "", _one_line(command.help), ""]
        lines += [
            _parameter(parameter) for parameter in command.params if not _is_hidden(parameter)
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: Any, above: str) -> Iterator[tuple[str, Any]]:
    """All commands, those of a group after it."""
    for name, command in group.commands.items():
        yield f"{above} {name}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above} {name}")


def _is_hidden(parameter: Any) -> bool:
    return bool(getattr(parameter, "hidden", False)) or parameter.name == "help"


def _parameter(parameter: Any) -> str:
    names = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name
    return f"- `{names}`: {_one_line(getattr(parameter, 'help', '') or '')}"


def workloads_page() -> str:
    """Every registered workload: inputs, parameters with defaults."""
    from neural_gpu_bus.workloads import WORKLOADS, describe_params

    lines = [
        "# Workloads",
        "",
        "Definitions, conventions and sources are in",
        "[the explanation](../explanation/workloads.md).",
        "",
    ]
    for workload in WORKLOADS.values():
        lines += [f"## {workload.name}", "", workload.summary, "", "Inputs:", ""]
        for name, columns in workload.inputs.items():
            kinds = ", ".join(f"`{column}` ({kind})" for column, kind in columns.items())
            lines.append(f"- `{name}`: {kinds or 'every float column'}")
        lines += ["", "Parameters:", ""]
        params = [f"- `{text}`" for text in describe_params(workload.params_type)]
        lines += [*(params or ["none"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def python_page() -> str:
    """The public classes: what each is, and its methods with signature and docstring; then the
    codecs for connections of one's own.
    """
    import neural_gpu_bus

    lines = [
        "# Python",
        "",
        "`import neural_gpu_bus as ngb`; everything starts with `ngb.open()`.",
        "",
    ]
    lines += ["## ngb.open", *_signature(neural_gpu_bus.open, "ngb.open")]
    for name in sorted(set(neural_gpu_bus.__all__) - {"open", "errors", "Settings", "__version__"}):
        lines += _class(name, getattr(neural_gpu_bus, name))
    for module, names in CODECS.items():
        for name in names:
            each = getattr(importlib.import_module(module), name)
            told = _class(name, each) if inspect.isclass(each) else _function(name, each)
            lines += [told[0], "", f"`from {module} import {name}`", *told[1:]]
    return "\n".join(lines).rstrip() + "\n"


#: What goes with one's own connections is imported from here.
CODECS = {
    "neural_gpu_bus.stores.postgres": ("encode_copy",),
    "neural_gpu_bus.stores.postgres.decoding": (
        "decode_copy",
        "CopyDecoder",
        "KnownTypes",
        "types_query",
        "with_answer",
    ),
}


def _function(name: str, function: Any) -> list[str]:
    return [f"## {name}", *_signature(function, name)]


def _class(name: str, kind: type) -> list[str]:
    members = [line for member in _members(kind) for line in member]
    return [f"## {name}", "", _prose(kind), "", *_fields(kind), *members]


#: How the docstring begins of what is public only so that the package's other files can use it.
FOR_THE_PACKAGE = "For this package: "


def members(kind: type) -> dict[str, Any]:
    """Properties and methods for callers, those of the package's own base classes behind."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("neural_gpu_bus"):
            found = {
                **found,
                **{name: each for name, each in vars(base).items() if name not in found},
            }
    return {
        name: each
        for name, each in found.items()
        if not name.startswith("_")
        and (isinstance(each, property) or inspect.isfunction(each))
        and not (inspect.getdoc(each) or FOR_THE_PACKAGE).startswith(FOR_THE_PACKAGE)
    }


def _members(kind: type) -> Iterator[list[str]]:
    for name, member in members(kind).items():
        if isinstance(member, property):
            yield [f"### .{name}", "", _prose(member), ""]
        else:
            yield [f"### .{name}()", *_signature(member, name)]


def _fields(kind: type) -> list[str]:
    """Of a record: each field with its type, and what the comment above it says."""
    if not (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
        return []
    lines, said = [], ""
    for line in inspect.getsource(kind).splitlines():
        field = re.fullmatch(r"    (\w+): ([^=]+?)( = .*)?", line)
        if field:
            prose = said.replace("``", "`")
            lines.append(f"- `{field[1]}` (`{field[2]}`){':' if said else ''}{prose}")
        said = f"{said} {line.strip()[3:]}" if line.startswith("    #: ") else ""
    return [*lines, ""]


def _signature(function: Any, name: str) -> list[str]:
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    shown = f"{name}{inspect.Signature(parameters)}"
    return ["", "```text", shown, "```", "", _prose(function), ""]


def _prose(item: Any) -> str:
    text = inspect.getdoc(item) or ""
    return text.replace("``", "`")


def _one_line(text: str) -> str:
    return " ".join(text.split())


FRAMES_INTRODUCTION = """\
# Frames

A `Frame` is a mapping of column name to read-only numpy array over bytes in shared memory. This
page says what each way out of it copies. A test takes every row of the table and looks where the
result's bytes lie.

- **Slices** are frames: `frame[100:200]`, `frame[-10_000:]`, `frame.slice(start, rows)`,
  `frame.head(n)`, `frame.tail(n)`, `frame[['close', 'volume']]`, `frame.select('close')`. They copy
  nothing, and everything below holds for them. Steps other than 1 are refused.
- **Nobody can write** through a frame: its pages are mapped read-only. torch, jax and DLPack get a
  second mapping of the same pages, made at each call; a page that is written to becomes this
  process's own copy. Where the dataset was dropped before, they get a copy of it.
- **Bytes live** as long as anything derived from them, whoever drops or replaces the dataset.
- **Pickling** sends where the bytes are. Another process of this host attaches the same ones. Where
  they are gone by then, or on another host, unpickling still gives a frame: its first use raises
  `DatasetEvictedError`, which says which of the two it is.
- **`nbytes`** is the block with its paddings, or of a slice its own values.
- **`digest()`** is the same for equal rows, in a slice as in a block; what lies under NULL is no
  part of it.
"""


def frames_page() -> str:
    """What each conversion of a frame copies, and what becomes of NULL."""
    from neural_gpu_bus.memory.frames.frame_conversions import COLUMNS, CONVERSIONS

    lines = FRAMES_INTRODUCTION.splitlines()
    lines.append("")
    lines.append("| conversion | columns | copies? | NULLs | note |")
    lines.append("|---|---|---|---|---|")
    for row in CONVERSIONS:
        columns = "all" if row.columns == tuple(COLUMNS) else ", ".join(row.columns)
        copies = "copy" if row.copies else "no copy"
        lines.append(f"| `{row.call}` | {columns} | {copies} | {row.nulls} | {row.note} |")
    lines += ["", "| columns | Arrow types |", "|---|---|"]
    lines += [f"| {group} | {types} |" for group, types in COLUMNS.items()]
    return "\n".join(lines) + "\n"


#: The report's colours and lines, for the picture standing alone.
PICTURE_STYLE = """
svg { color-scheme: light dark; font-family: system-ui, sans-serif; }
rect { fill: light-dark(#fafaf7, #1b1f24); stroke: light-dark(#b8beb9, #4a525b); }
rect { stroke-width: 1.2; }
.strong { stroke: light-dark(#0e7a60, #3fc3a1); stroke-width: 1.8; }
text { font-size: 12px; fill: light-dark(#1b2026, #e7eaed); }
.tick { font-size: 11.5px; fill: light-dark(#5a646f, #a2acb6); }
.node-head { font-weight: 600; font-size: 13px; }
line.flow { stroke: light-dark(#0e7a60, #3fc3a1); stroke-width: 1.8; }
line.message { stroke: light-dark(#5a646f, #a2acb6); stroke-width: 1.4; stroke-dasharray: 4 4; }
.head.flow { fill: light-dark(#0e7a60, #3fc3a1); }
.head.message { fill: light-dark(#5a646f, #a2acb6); }
"""


def data_path_picture() -> str:
    """The report's picture of the data's way, for the README."""
    from neural_gpu_bus.benchmarks.report.path_picture import draw_wide

    opening, parts = draw_wide().svg("data-path").split(">", 1)
    return f"{opening}><style>{PICTURE_STYLE}</style>{parts}\n"


PAGES: dict[str, typing.Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "commands.md": commands_page,
    "workloads.md": workloads_page,
    "python.md": python_page,
    "frames.md": frames_page,
    "../data-path.svg": data_path_picture,
}


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
