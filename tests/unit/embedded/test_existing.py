"""Existing servers are shown without asking them, and without what is secret."""

from __future__ import annotations

from pathlib import Path

from neural_gpu_bus.embedded.existing import existing_status
from neural_gpu_bus.embedded.records import ServerStatus
from neural_gpu_bus.settings import load_settings


def test_host_and_database_are_shown_and_an_unreadable_address_is_said_so(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path,
        postgres_dsn="postgresql://me:secret@db/market",
        compute_redis_url="redis://:secret@cache:port",
    )

    assert existing_status(settings, "postgres") == ServerStatus(
        "postgres", "existing", "db:5432/market"
    )
    assert existing_status(settings, "compute_redis") == ServerStatus(
        "compute_redis", "existing", "(address cannot be read)"
    )
