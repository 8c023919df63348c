"""A described result to the columns it becomes; the server is asked about types once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psycopg

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import ColumnNotFoundError, QueryError
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.type_catalog import Lend, TypeCatalog
from neural_gpu_bus.stores.postgres.wire.messages import Field


class ResultColumns:
    """What is known of the types of one server's results; thread-safe."""

    def __init__(self, address: str, lend: Lend | None = None) -> None:
        self._catalog = TypeCatalog(address, lend)

    def are_known(self, fields: Sequence[Field]) -> bool:
        """Whether all types are known without asking."""
        return not self._catalog.missing([field.oid for field in fields])

    def learn(self, connection: psycopg.Connection, fields: Sequence[Field]) -> None:
        """Ask the server about types that are not known, on an idle connection."""
        missing = self._catalog.missing([field.oid for field in fields])
        if missing:
            self._catalog.learn(connection, missing)

    def columns(
        self,
        fields: Sequence[Field],
        options: ReadOptions,
    ) -> list[SourceColumn]:
        """The columns of a result whose types are known. Raises QueryError where it has none, or
        one name twice, UnsupportedTypeError for a type that is not read, ColumnNotFoundError for a
        choice for a column that is not there.
        """
        if not fields:
            raise QueryError(
                "the statement returns no columns to read",
                hint="query a SELECT of columns, or add RETURNING; write with plane.store",
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
        _check_choices([field.name for field in fields], options)
        return self._catalog.columns(fields, options)


def _check_choices(names: Sequence[str], options: ReadOptions) -> None:
    """Raises ColumnNotFoundError for a choice for a column that the result does not have."""
    if isinstance(options.numeric, str):
        return
    for name in options.numeric:
        if name not in names:
            raise ColumnNotFoundError(
                f"numeric chooses for column {name!r}, which the result does not have",
                hint=did_you_mean(name, names, "it has: " + ", ".join(map(repr, names[:20]))),
                column=name,
            )
