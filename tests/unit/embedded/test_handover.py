"""Settings reach other processes whole, and their secrets nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_gpu_bus.embedded.handover import (
    existing_digests,
    from_json,
    to_environment,
    to_json,
)
from neural_gpu_bus.settings import Settings

DSN = "postgresql://me:pass word@host/x"


def some_settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path, postgres_dsn=DSN, workers=3, connect_timeout_s=1.5, memory_folder=tmp_path
    )


def test_json_brings_them_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = some_settings(tmp_path)
    text = to_json(settings)
    monkeypatch.setenv("NGB_WORKERS", "9")
    monkeypatch.setenv("NGB_COMPUTE_REDIS_URL", "redis://elsewhere")

    assert from_json(text) == settings


def test_the_environment_brings_them_all_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = some_settings(tmp_path)
    environment = to_environment(settings, {"PATH": "/bin", "NGB_COMPUTE_REDIS_URL": "old"})
    for name in ("NGB_CONFIG", "NGB_COMPUTE_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert environment["PATH"] == "/bin"
    assert "NGB_COMPUTE_REDIS_URL" not in environment
    assert Settings() == settings


def test_digests_tell_servers_apart_without_naming_them(tmp_path: Path) -> None:
    digests = existing_digests(some_settings(tmp_path))

    assert digests.keys() == {"postgres_dsn", "memory_folder"}
    assert "pass word" not in str(digests)
    assert existing_digests(Settings(home=tmp_path)) == {}
