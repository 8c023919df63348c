"""What is missing, as an error that can be run."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import ReplicationRefusedError
from neural_gpu_bus.stores.postgres.replication.preflight import Missing, Preflight


def test_nothing_missing_raises_nothing() -> None:
    Preflight((), ("a notice",), ()).check()


def test_all_that_is_missing_is_in_the_hint_as_a_script() -> None:
    found = Preflight(
        (
            Missing("wal_level is replica", "ALTER SYSTEM SET x = 1;", "a superuser", restart=True),
            Missing("this server is a standby", ""),
        ),
        (),
        (),
    )

    with pytest.raises(ReplicationRefusedError, match="wal_level is replica, and 1 more") as error:
        found.check()

    assert error.value.hint.splitlines() == [
        "run:",
        "  ALTER SYSTEM SET x = 1;  -- wal_level is replica; by a superuser; then restart the "
        "server",
        "  -- this server is a standby",
    ]
    assert error.value.missing == (
        ("wal_level is replica", "ALTER SYSTEM SET x = 1;"),
        ("this server is a standby", ""),
    )
    assert str(found.missing[0]) == (
        "wal_level is replica: ALTER SYSTEM SET x = 1; (by a superuser), then restart the server"
    )
