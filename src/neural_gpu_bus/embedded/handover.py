"""Settings on their way to another process: secrets go by pipe or environment, never as an
argument.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from neural_gpu_bus.embedded.records import SERVER_NAMES, ServerName
from neural_gpu_bus.settings import Settings

ENVIRONMENT_PREFIX = "NGB_"
#: Of variables that are no settings: what tests alone set reaches the processes they start.
TESTS_PREFIX = "NGB_TEST_"


def address_setting(name: ServerName) -> str:
    """Name of the setting that names an existing server in place of the private one."""
    return "postgres_dsn" if name == "postgres" else f"{name}_url"


def existing_address(settings: Settings, name: ServerName) -> SecretStr | None:
    """Address of an existing server, None where the private one is wanted."""
    address: SecretStr | None = getattr(settings, address_setting(name))
    return address


def existing_digests(settings: Settings) -> dict[str, str]:
    """Digest of each setting in which keeper and client have to agree; secrets stay at home."""
    values = {address_setting(name): existing_address(settings, name) for name in SERVER_NAMES}
    digests = {
        name: hashlib.sha256(value.get_secret_value().encode()).hexdigest()
        for name, value in values.items()
        if value is not None
    }
    if settings.memory_folder is not None:
        digests["memory_folder"] = str(settings.memory_folder.expanduser().resolve())
    if settings.memory_group is not None:
        digests["memory_group"] = settings.memory_group
    return digests


def to_json(settings: Settings) -> bytes:
    """Every setting, secrets in the clear."""
    return json.dumps(_plain_values(settings)).encode()


def from_json(text: bytes) -> Settings:
    """The settings that ``to_json`` wrote; each is named, so environment and file add nothing."""
    return Settings(**json.loads(text))


def to_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """That environment with exactly these settings in place of its own ``NGB_`` ones; those that
    only tests have stay.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name.startswith(TESTS_PREFIX) or not name.upper().startswith(ENVIRONMENT_PREFIX)
    }
    named = {
        f"{ENVIRONMENT_PREFIX}{name.upper()}": str(value)
        for name, value in _plain_values(settings).items()
        if value is not None
    }
    return kept | named


def _plain_values(settings: Settings) -> dict[str, Any]:
    return {name: _plain(getattr(settings, name)) for name in type(settings).model_fields}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.expanduser().resolve())
    return value
