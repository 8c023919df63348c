"""Settings read and checked: what cannot be used is told by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.settings.settings import Settings


def load_settings(**arguments: Any) -> Settings:
    """Settings from file, environment and arguments; BadSettingError names each bad one and what
    it may be.
    """
    _check_names()
    try:
        return Settings(**arguments)
    except ValidationError as error:
        problems = "; ".join(
            _problem(item) for item in error.errors(include_input=False, include_url=False)
        )
        raise BadSettingError(
            f"settings cannot be used: {problems}",
            hint="see `ngb config` for every setting, its default and its limits",
            setting=".".join(str(part) for part in error.errors()[0]["loc"]),
        ) from None
    except (OSError, ValueError) as error:
        file = os.environ.get("NGB_CONFIG", "ngb.toml")
        raise BadSettingError(
            f"cannot read settings from {file!r}: {error}", hint="mend the file", setting=""
        ) from None


def _check_names() -> None:
    """A mistyped variable or file must not end in private servers where others were meant."""
    named = os.environ.get("NGB_CONFIG")
    if named and not Path(named).is_file():
        raise BadSettingError(
            f"NGB_CONFIG names {named!r}, which is no file",
            hint="mend the path, or unset it to use ngb.toml of the working folder",
            setting="NGB_CONFIG",
        )
    known = {f"NGB_{name.upper()}" for name in Settings.model_fields} | {"NGB_CONFIG"}
    for name in os.environ:
        if name.startswith("NGB_") and not name.startswith("NGB_TEST_") and name not in known:
            raise BadSettingError(
                f"there is no setting {name}",
                hint=did_you_mean(name, known, "unset it; see `ngb config`"),
                setting=name,
            )


def _problem(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    return f"{name}: {item['msg'].lower()}"
