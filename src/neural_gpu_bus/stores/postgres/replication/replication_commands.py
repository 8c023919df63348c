"""Commands of a replication connection, as text; names are quoted."""

from __future__ import annotations

from collections.abc import Sequence

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.replication.wal_positions import lsn_text

#: Version that takes a slot's options in parentheses, and that knows slots for failover.
_OPTIONS_VERSION, _FAILOVER_VERSION = 150_000, 170_000


def create_slot_command(name: str, *, temporary: bool, failover: bool, version: int) -> str:
    """CREATE_REPLICATION_SLOT without a snapshot. Raises BadParameterError where the server knows
    no slots for failover.
    """
    head = f"CREATE_REPLICATION_SLOT {_quoted(name)}{' TEMPORARY' if temporary else ''} LOGICAL "
    if failover and version < _FAILOVER_VERSION:
        raise BadParameterError(
            f"PostgreSQL {version // 10_000} has no slots that survive a failover",
            hint="use PostgreSQL 17 or newer, or a slot without failover",
            parameter="failover",
        )
    if version < _OPTIONS_VERSION:
        return f"{head}pgoutput NOEXPORT_SNAPSHOT"
    return f"{head}pgoutput (SNAPSHOT 'nothing'{', FAILOVER' if failover else ''})"


def start_command(slot: str, lsn: int, publications: Sequence[str]) -> str:
    """START_REPLICATION of whole transactions with binary values and logical messages."""
    if not publications:
        raise BadParameterError(
            "a stream without publications has no changes",
            hint="name at least one publication",
            parameter="publications",
        )
    names = _literal(", ".join(_quoted(name) for name in publications))
    return (
        f"START_REPLICATION SLOT {_quoted(slot)} LOGICAL {lsn_text(lsn)} "
        f'("proto_version" \'1\', "publication_names" {names}, "binary" \'true\', '
        "\"messages\" 'true')"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """The replication grammar knows no backslash escapes."""
    return "'" + text.replace("'", "''") + "'"
