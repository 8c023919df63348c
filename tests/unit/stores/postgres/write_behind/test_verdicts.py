"""What a failure means for the rows."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import (
    BadSettingError,
    BadValueError,
    ProtocolError,
    QueryError,
    QueryTimeoutError,
    ServerAuthenticationError,
    ServerFullError,
    ServerUnreachableError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.connections.connection import failure_from
from neural_gpu_bus.stores.postgres.write_behind.verdicts import Verdict, verdict_on


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ServerUnreachableError("gone"), Verdict.SERVER_AWAY),
        (ServerAuthenticationError("password"), Verdict.SERVER_AWAY),
        (ServerFullError("disk"), Verdict.SERVER_AWAY),
        (BadSettingError("no such database"), Verdict.SERVER_AWAY),
        (QueryTimeoutError("no free connection"), Verdict.TABLE_BUSY),
        (MemoryError(), Verdict.TABLE_BUSY),
        (OSError(5, "segment"), Verdict.TABLE_BUSY),
        (BadValueError("row 1"), Verdict.REFUSED),
        (UnsupportedTypeError("column"), Verdict.REFUSED),
        (ProtocolError("bytes"), Verdict.REFUSED),
        (OverflowError("nobody thought of it"), Verdict.REFUSED),
    ],
)
def test_by_class(error: Exception, verdict: Verdict) -> None:
    assert verdict_on(error) is verdict


@pytest.mark.parametrize(
    ("sqlstate", "verdict"),
    [
        ("25006", Verdict.SERVER_AWAY),
        ("57P01", Verdict.SERVER_AWAY),
        ("53100", Verdict.SERVER_AWAY),
        ("53300", Verdict.SERVER_AWAY),
        ("40P01", Verdict.TABLE_BUSY),
        ("55P03", Verdict.TABLE_BUSY),
        ("57014", Verdict.DOUBTFUL),
        ("25P04", Verdict.DOUBTFUL),
        ("42P01", Verdict.DOUBTFUL),
        ("XX000", Verdict.DOUBTFUL),
        ("23505", Verdict.REFUSED),
        ("42703", Verdict.REFUSED),
        ("42501", Verdict.REFUSED),
        ("3F000", Verdict.REFUSED),
        ("P0001", Verdict.REFUSED),
    ],
)
def test_by_sqlstate(sqlstate: str, verdict: Verdict) -> None:
    assert verdict_on(failure_from(sqlstate, "said", "here:5432/x")) is verdict


def test_a_query_error_without_a_state_is_refused() -> None:
    assert verdict_on(QueryError("no state", sqlstate=None)) is Verdict.REFUSED
