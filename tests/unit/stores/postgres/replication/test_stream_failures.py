"""What a server says about a stream, as errors of this package with a way out."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import (
    NeuralGpuBusError,
    ReplicationError,
    ServerAuthenticationError,
    ServerUnreachableError,
)
from neural_gpu_bus.stores.postgres.replication.stream_failures import (
    stream_ended,
    stream_failure,
)
from neural_gpu_bus.stores.postgres.wire.messages import Refusal

REMOVED = "requested WAL segment 000000010000000000000003 has already been removed"


@pytest.mark.parametrize(
    ("sqlstate", "message", "kind", "way_out"),
    [
        ("42704", 'replication slot "s" does not exist', ReplicationError, "make the slot anew"),
        ("55006", 'replication slot "s" is active for PID 7', ReplicationError, "terminate"),
        ("42704", 'publication "p" does not exist', ReplicationError, "make the publication"),
        ("58P01", REMOVED, ReplicationError, "max_slot_wal_keep_size"),
        (
            "55000",
            'can no longer access replication slot "s"',
            ReplicationError,
            "make the slot anew",
        ),
        (
            "55000",
            'logical decoding requires "wal_level" >= "logical"',
            ReplicationError,
            "set wal_level = logical",
        ),
        ("53400", "all replication slots are in use", ReplicationError, "max_replication_slots"),
        ("XX000", "could not read", ReplicationError, "see the server's log"),
        ("57P01", "terminating connection", ServerUnreachableError, "ngb status"),
        ("28000", "no right", ServerAuthenticationError, "check user and password"),
    ],
)
def test_a_refusal_says_what_to_do(
    sqlstate: str, message: str, kind: type[NeuralGpuBusError], way_out: str
) -> None:
    refusal = Refusal(sqlstate, message, "some detail", "", "")

    error = stream_failure(refusal, "here:5432/db", slot="s")

    assert type(error) is kind
    assert message in error.what
    assert "here:5432/db" in error.what
    assert way_out in error.hint
    if isinstance(error, ReplicationError):
        assert (error.sqlstate, error.slot) == (sqlstate, "s")
        assert "some detail" in error.what


def test_a_stream_that_just_ends_is_a_server_that_is_gone() -> None:
    error = stream_ended("here:5432/db", "the server ended the stream")

    assert isinstance(error, ServerUnreachableError)
    assert "here:5432/db: the server ended the stream" in error.what
