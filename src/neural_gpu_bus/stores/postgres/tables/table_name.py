"""Table names as people write them: ``name`` or ``schema.name``, taken letter by letter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import BadParameterError

if TYPE_CHECKING:
    from psycopg import sql

#: PostgreSQL cuts longer names in silence (NAMEDATALEN - 1 bytes).
NAME_BYTES_MAX = 63

#: Names that are not taken apart again.
_NAMES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name; without a schema the connection's search path decides."""

    schema: str | None
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        """Quoted for SQL; capitals and odd characters stay as they are."""
        # Imported where SQL is written: names alone are read by processes without a connection.
        from psycopg import sql

        return sql.Identifier(*(part for part in (self.schema, self.name) if part))

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@lru_cache(_NAMES_MAX)
def parse_table_name(text: str) -> TableName:
    """``bars`` or ``market.bars``. Raises BadParameterError for what cannot be a table's name."""
    parts = text.split(".")
    if len(parts) > 2:
        raise _bad(text, "has more than one dot", "write it as name or schema.name")
    for part in parts:
        if not part or "\x00" in part:
            raise _bad(text, "is not a name", "write it as name or schema.name")
        if len(part.encode()) > NAME_BYTES_MAX:
            raise _bad(
                text,
                f"is longer than the {NAME_BYTES_MAX} bytes that PostgreSQL keeps",
                "use a shorter name",
            )
    return TableName(parts[0] if len(parts) == 2 else None, parts[-1])


def _bad(text: str, why: str, hint: str) -> BadParameterError:
    return BadParameterError(f"table name {text!r} {why}", hint=hint, parameter="table")
