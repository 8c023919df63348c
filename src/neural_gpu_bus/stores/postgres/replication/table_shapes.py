"""What a table is to its mirror: columns, identity and leaves, as one snapshot of the catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import msgspec
from psycopg import sql

#: As ``pg_class.relreplident`` has them: primary key, nothing, all columns, an index.
DEFAULT, NOTHING, FULL, INDEX = "d", "n", "f", "i"
#: Sends stored generated columns.
GENERATED_SINCE = 180_000


class ColumnShape(msgspec.Struct, frozen=True):
    """One column."""

    attnum: int
    name: str
    #: Of a domain its own, as in Relation messages.
    type_oid: int
    #: ``atttypmod``; -1 for none.
    modifier: int
    #: As ``format_type`` spells it.
    type_name: str
    not_null: bool
    #: ``pg_attribute.attgenerated``: empty, ``s`` (stored) or ``v`` (virtual).
    generated: str = ""
    #: Whether its values can come in binary form. Where not, they come as text.
    has_send: bool = True
    #: Whether the server fails as soon as it sends a value: the type has a send function, and a
    #: type in it has none (``aclitem[]``). No choice of columns helps.
    sending_fails: bool = False
    #: Labels of enum types in it, each with its OID, in order of OIDs.
    labels: tuple[tuple[int, str], ...] = ()
    #: Fields of composite types in it: type, number, name, type and modifier of each.
    fields: tuple[str, ...] = ()
    #: ``xmin`` of its row in ``pg_attribute``: another one whenever something of it was altered.
    altered: str = ""
    #: OIDs of types in it that are not built in.
    own_types: tuple[int, ...] = ()
    #: What makes values equal that differ in their bytes: ``numeric``, ``citext``, ``jsonb``,
    #: ``bpchar``, or the collation's name; empty for none.
    equal_by: str = ""


class RelationShape(msgspec.Struct, frozen=True):
    """The table itself, or one of the partitions below it, on whatever level."""

    oid: int
    schema: str
    name: str
    #: ``pg_class.relkind`` and ``relpersistence``.
    kind: str
    persistence: str
    relfilenode: int
    #: ``pg_class.relreplident``.
    identity: str
    #: Columns of the index that the identity stands for, in order of the index; empty for none.
    index_columns: tuple[str, ...]
    #: ``xmin`` of its row in ``pg_inherits``, another one after each ATTACH by another transaction;
    #: behind a blank where the row lies, another place after each. Empty for the root.
    attached: str = ""
    #: Sum of the ``xmin`` of its rows in ``pg_attribute``.
    columns_altered: int = 0

    @property
    def identity_columns(self) -> tuple[str, ...] | None:
        """Columns that old rows of UPDATE and DELETE come with: empty for none at all, None for
        all of them.
        """
        if self.identity == FULL:
            return None
        return () if self.identity == NOTHING else self.index_columns


class TableShape(msgspec.Struct, frozen=True):
    """A table as one look at the catalog found it."""

    oid: int
    schema: str
    name: str
    columns: tuple[ColumnShape, ...]
    #: ``pg_class.relreplident`` of the table itself.
    identity: str
    #: Columns of its identity; all of them for FULL, none where there is none.
    identity_columns: tuple[str, ...]
    partitioned: bool
    #: The relation itself, and all partitions of a partitioned one, in order of OIDs.
    relations: tuple[RelationShape, ...]
    persistence: str = "p"
    #: Policies were switched on, whomever they hold for.
    row_security: bool = False
    #: They hold for the role that asked: it would read fewer rows than the stream brings.
    row_security_active: bool = False
    owner: str = ""
    #: ``server_version_num`` of who was asked.
    version: int = 0

    @property
    def leaves(self) -> tuple[int, ...]:
        """OIDs of the leaves of a partitioned table; empty for any other."""
        return tuple(one.oid for one in self.relations if one.oid != self.oid and one.kind == "r")

    @property
    def stream_oids(self) -> tuple[int, ...]:
        """OIDs that its rows come under: those of its leaves, or its own."""
        return self.leaves if self.partitioned else (self.oid,)

    @property
    def relfilenodes(self) -> tuple[int, ...]:
        """Of the relations with rows."""
        return tuple(one.relfilenode for one in self.holding_rows())

    @property
    def own_types(self) -> tuple[int, ...]:
        """OIDs of types in its columns that are not built in."""
        return tuple(sorted({oid for one in self.columns for oid in one.own_types}))

    @property
    def identifier(self) -> sql.Identifier:
        """Schema and name, quoted for SQL."""
        return sql.Identifier(self.schema, self.name)

    @property
    def quoted(self) -> str:
        """The same as text."""
        return quoted(self.schema, self.name)

    def holding_rows(self) -> Iterable[RelationShape]:
        """Leaves of a partitioned table, or the table itself."""
        return (one for one in self.relations if one.kind == "r")

    def column(self, name: str) -> ColumnShape | None:
        """The column of that name."""
        return next((one for one in self.columns if one.name == name), None)

    @property
    def left_out(self) -> tuple[ColumnShape, ...]:
        """Columns that are no part of a stream: virtual generated ones, which are computed when
        they are read, and before PostgreSQL 18 all generated ones.
        """
        return tuple(one for one in self.columns if not self.sends(one))

    def sends(self, column: ColumnShape) -> bool:
        """Whether its values come with the stream."""
        return not column.generated or (column.generated != "v" and self.version >= GENERATED_SINCE)

    def chosen(self, columns: Collection[str] | None) -> tuple[ColumnShape, ...]:
        """These columns (None: all that are sent) and those of the identity, in the table's
        order.
        """
        if columns is None:
            return tuple(one for one in self.columns if self.sends(one))
        wanted = {*columns, *(self.identity_columns if self.identity != FULL else ())}
        return tuple(one for one in self.columns if one.name in wanted)

    def fingerprint(self, columns: Collection[str] | None = None) -> str:
        """Another text whenever rows of a mirror with these columns may be wrong by what the
        catalog says. Rewrites alone are not in it, and an added label of an enum is:
        ``shape_changes.copy_reason`` compares two shapes with more care.
        """
        essence = (
            self.oid,
            self.partitioned,
            self.persistence,
            self.row_security_active,
            self.identity,
            self.identity_columns if self.identity != FULL else (),
            [
                (
                    (one.attnum, one.name, one.type_oid, one.modifier),
                    (one.generated, one.labels, one.fields),
                )
                for one in self.chosen(columns)
            ],
            [
                (one.oid, one.persistence, one.identity, one.index_columns, one.attached)
                for one in self.relations
            ],
        )
        return hashlib.sha256(msgspec.json.encode(essence)).hexdigest()[:32]

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def quoted(*names: str) -> str:
    """``"schema"."name"``; capitals and odd characters as they are."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
