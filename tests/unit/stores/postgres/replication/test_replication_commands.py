"""Commands of a replication connection: names are quoted, options as the server knows them."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.replication.replication_commands import (
    create_slot_command,
    start_command,
)


@pytest.mark.parametrize(
    ("version", "temporary", "failover", "expected"),
    [
        (180_000, True, False, """ "a" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')"""),
        (170_000, False, True, """ "a" LOGICAL pgoutput (SNAPSHOT 'nothing', FAILOVER)"""),
        (140_000, True, False, """ "a" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"""),
    ],
)
def test_a_slot_is_made_as_the_server_knows_it(
    version: int, temporary: bool, failover: bool, expected: str
) -> None:
    command = create_slot_command("a", temporary=temporary, failover=failover, version=version)

    assert command == "CREATE_REPLICATION_SLOT" + expected


def test_a_slot_for_failover_needs_version_17() -> None:
    with pytest.raises(BadParameterError, match="PostgreSQL 16 has no slots that survive"):
        create_slot_command("a", temporary=False, failover=True, version=160_004)


def test_a_stream_is_asked_for_with_quoted_names() -> None:
    assert start_command('s"lot', 0x1_0000_00FF, ["it's", 'a "b", c']) == (
        'START_REPLICATION SLOT "s""lot" LOGICAL 1/FF ("proto_version" \'1\', '
        '"publication_names" \'"it\'\'s", "a ""b"", c"\', "binary" \'true\', "messages" \'true\')'
    )


def test_a_stream_has_publications() -> None:
    with pytest.raises(BadParameterError, match="a stream without publications"):
        start_command("slot", 0, [])
