"""Where a plane's settings come from, and its home."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


def default_home() -> Path:
    """Per user and persistent. As root under /var/lib: PostgreSQL refuses root, and no other user
    can enter /root.
    """
    if os.geteuid() == 0 and sys.platform == "linux":
        return Path("/var/lib/neural-gpu-bus")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "neural-gpu-bus"
    return (
        Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        / "neural-gpu-bus"
    )


class HomeSettings(BaseSettings):
    """What all parts have: the home, and the places that settings are read from."""

    model_config = SettingsConfigDict(
        env_prefix="NGB_", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=default_home, description="Folder of the private servers and their data."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file."""
        file = Path(os.environ.get("NGB_CONFIG", "ngb.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)
