"""What can be said of a call before anything is written: names, columns, keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.arguments import check_encodable, check_text
from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.tables.column_names import first_bad_name
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name
from neural_gpu_bus.stores.postgres.write_behind.payload import check_types
from neural_gpu_bus.stores.postgres.write_behind.receipts import Acknowledgement

if TYPE_CHECKING:
    import pyarrow as pa


def checked_name(table: Any) -> str:
    """The table's name as it stands in the journal. Raises BadParameterError."""
    check_text("table", table, "'prices'")
    check_encodable("table", table)
    return str(parse_table_name(table))


def checked_rows(
    columns: Any, mode: str, key: Sequence[str] | None
) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns and the key, as far as they can be checked without the server. Raises
    BadParameterError and UnsupportedTypeError.
    """
    if mode not in ("append", "upsert"):
        raise BadParameterError(
            f"mode {mode!r} is none of append, upsert", hint="use one", parameter="mode"
        )
    data = as_table(columns)
    bad = first_bad_name(data.column_names)
    if bad is not None:
        raise BadParameterError(bad.why, hint=bad.hint, parameter=bad.column or "columns")
    names = _checked_key(key, data.column_names)
    check_types(data.schema)
    return data, names


def _checked_key(given: Any, names: Sequence[str]) -> tuple[str, ...]:
    if given is None:
        return ()
    key = _listed(given)
    missing = next((name for name in key if name not in names), None)
    if missing is not None:
        raise BadParameterError(
            f"key column {missing!r} is not among the columns {', '.join(names)}",
            hint="name columns that are there",
            parameter="key",
        )
    twice = next((name for name in key if key.count(name) > 1), None)
    if twice is not None:
        raise BadParameterError(
            f"key names column {twice!r} twice", hint="name it once", parameter="key"
        )
    return tuple(str(name) for name in key)


def _listed(key: Any) -> list[Any]:
    if isinstance(key, str) or not isinstance(key, Iterable):
        what = f"the text {key!r}" if isinstance(key, str) else repr(key)
        raise BadParameterError(
            f"key is {what}, and no list of columns",
            hint=f"write key=[{key!r}]" if isinstance(key, str) else "e.g. key=['day']",
            parameter="key",
        )
    return list(key)


def check_acknowledgement(value: Any) -> None:
    """BadParameterError for what ``store_later`` did not return."""
    if not isinstance(value, Acknowledgement):
        raise BadParameterError(
            f"acknowledgement is {value!r}: expected what store_later returned",
            hint="acknowledgement = plane.store_later(...)",
            parameter="acknowledgement",
        )
