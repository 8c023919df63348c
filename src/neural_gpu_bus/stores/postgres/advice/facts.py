"""What the catalog says, as records that judgement needs no server for."""

from __future__ import annotations

import msgspec

from neural_gpu_bus.sql_text import quoted_name


class ColumnFacts(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    #: As ``format_type`` spells it.
    type: str
    #: Size of every value in bytes; -1 where it varies.
    fixed_bytes: int
    not_null: bool = False
    #: From the server's statistics; None where it has none.
    average_bytes: int | None = None
    #: Different values; negative: times the number of rows (pg_stats). None where not known.
    distinct: float | None = None


class IndexFacts(msgspec.Struct, frozen=True):
    """One index of a table."""

    name: str
    method: str
    #: Key columns in order; None for an expression.
    key: tuple[str | None, ...]
    included: tuple[str | None, ...] = ()
    is_unique: bool = False
    is_primary: bool = False
    is_partial: bool = False
    #: False for one whose building failed.
    is_valid: bool = True


class TableFacts(msgspec.Struct, frozen=True):
    """One table, or a partitioned one as a whole."""

    schema: str
    name: str
    columns: tuple[ColumnFacts, ...] = ()
    indexes: tuple[IndexFacts, ...] = ()
    is_partitioned: bool = False
    #: Rows as last estimated; -1 where nobody ever looked.
    rows: float = -1
    #: Pages as last estimated, of those all visible, and as they are now.
    pages_estimated: int = 0
    pages_visible: int = 0
    pages: int = 0
    #: Since statistics began; of both kinds of vacuum and analyse.
    rows_dead: int = 0
    was_analysed: bool = False
    can_select: bool = True

    @property
    def quoted(self) -> str:
        """For SQL, with its schema."""
        return f"{quoted_name(self.schema)}.{quoted_name(self.name)}"

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


class SessionFacts(msgspec.Struct, frozen=True):
    """The connection, its user's rights, and what stands in between."""

    user: str
    database: str
    is_tls: bool
    #: A unix socket or an address that never leaves the host.
    is_local: bool
    #: As the address asks for it, by libpq's names.
    sslmode: str
    server_encoding: str
    in_recovery: bool
    can_temporary: bool
    #: Schema ``ngb_ledger`` is there and usable, or may be made.
    can_ledger: bool
    can_replicate: bool
    connections: int
    connections_ours: int
    #: Another process of the server answers than the one that was connected to.
    is_pooled: bool = False
    #: A second connection got the same server process while the first was idle.
    is_pooled_by_transaction: bool = False
    slots: int = 0
    wal_senders: int = 0
    is_jit_available: bool = False
    database_bytes: int = 0


class CatalogFacts(msgspec.Struct, frozen=True):
    """All that is judged."""

    #: ``server_version_num``: 180004 for 18.4.
    version: int
    session: SessionFacts
    #: Name to value; sizes in bytes, switches as ``on`` and ``off``.
    settings: dict[str, str]
    tables: tuple[TableFacts, ...] = ()
    #: Tables that were left out, the smallest.
    tables_unseen: int = 0
