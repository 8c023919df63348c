"""A described result to the columns it becomes; the server is asked about types once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psycopg

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.decoding.column_types import (
    SourceColumn,
    is_built_in,
    source_column,
    unsupported,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: Types that are sent as their plain text: enums, and those with the send function of a built-in
#: text type (citext, domains come as their base type anyway).
_TYPES_SQL = """
SELECT t.oid, format_type(t.oid, NULL), t.typtype = 'e' OR p.prosrc IN ('textsend', 'citextsend')
FROM pg_type t JOIN pg_proc p ON p.oid = t.typsend WHERE t.oid = ANY(%s)
"""


class ResultColumns:
    """What is known of the types of one server's results; thread-safe."""

    def __init__(self, address: str) -> None:
        self._address = address
        #: OID -> name; an OID is given again only after four billion others.
        self._text_types: dict[int, str] = {}

    def are_known(self, fields: Sequence[Field]) -> bool:
        """Whether all types are known without asking."""
        return all(is_built_in(field.oid) or field.oid in self._text_types for field in fields)

    def learn(self, connection: psycopg.Connection, fields: Sequence[Field]) -> None:
        """Ask the server about types that are not known, on an idle connection. Raises
        UnsupportedTypeError.
        """
        unknown = {
            field.oid: field.name
            for field in fields
            if not is_built_in(field.oid) and field.oid not in self._text_types
        }
        with translated(self._address):
            found = connection.execute(_TYPES_SQL, [list(unknown)]).fetchall()
        types = {oid: (type_name, is_text) for oid, type_name, is_text in found}
        for oid, name in unknown.items():
            type_name, is_text = types.get(oid, ("a type that was just dropped", False))
            if not is_text:
                raise unsupported(name, type_name)
            self._text_types[oid] = type_name

    def columns(
        self,
        fields: Sequence[Field],
        options: ReadOptions,  # noqa: ARG002  (numeric and texts have no choices yet)
    ) -> list[SourceColumn]:
        """The columns of a result whose types are known. Raises QueryError where it has none, or
        one name twice.
        """
        if not fields:
            raise QueryError(
                "the statement returns no rows to read",
                hint="query a SELECT, or add RETURNING; write with plane.store",
                sqlstate=None,
            )
        repeated = [
            name for name, count in Counter(field.name for field in fields).items() if count > 1
        ]
        if repeated:
            raise QueryError(
                f"the statement returns {len(repeated)} column name(s) more than once: "
                + ", ".join(repr(name) for name in repeated),
                hint=f'name them apart, e.g. a."{repeated[0]}" AS "{repeated[0]}_2"',
                sqlstate=None,
            )
        return [source_column(field.name, field.oid, self._text_types) for field in fields]
