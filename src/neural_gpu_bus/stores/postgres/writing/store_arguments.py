"""What a caller gave to ``store``, checked before a connection is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.errors import BadParameterError

#: More connections than that only wait for each other in the server.
TRANSACTIONS_MAX = 64

MODES = ("append", "upsert", "replace")


def check_options(mode: Any, create: Any, transactions: Any) -> None:
    """BadParameterError for what is none of their values."""
    if mode not in MODES:
        raise BadParameterError(
            f"mode {mode!r} is none of {', '.join(MODES)}", hint="use one", parameter="mode"
        )
    if not isinstance(create, bool):
        raise BadParameterError(
            f"create is {create!r}: expected True or False",
            hint="create=False refuses to make a missing table",
            parameter="create",
        )
    hint = f"give 1 to {TRANSACTIONS_MAX}"
    if check_whole_number("transactions", transactions, 1, hint) > TRANSACTIONS_MAX:
        raise BadParameterError(
            f"transactions is {transactions}: at most {TRANSACTIONS_MAX} go at once",
            hint=hint,
            parameter="transactions",
        )


def checked_key(key: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns that are there, each once; BadParameterError for anything else."""
    if key is None:
        return ()
    if isinstance(key, str | bytes) or not isinstance(key, Iterable):
        what = f"the text {key!r}" if isinstance(key, str) else repr(key)
        raise _bad_key(f"key is {what}, and no list of columns", "e.g. key=['day']")
    columns = tuple(key)
    missing = next((column for column in columns if column not in names), None)
    if missing is not None:
        why = f"key column {missing!r} is not among the columns {', '.join(names)}"
        raise _bad_key(why, "name columns that are there")
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise _bad_key(f"key names column {twice!r} twice", "name it once")
    return columns


def _bad_key(why: str, hint: str) -> BadParameterError:
    return BadParameterError(why, hint=hint, parameter="key")
