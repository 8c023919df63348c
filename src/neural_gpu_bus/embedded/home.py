"""The folder of the private servers: what lies where, who owns it, what is remembered there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from neural_gpu_bus.embedded.account import Account, first_closed_folder, server_account
from neural_gpu_bus.embedded.records import SERVER_NAMES, ServerName
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.settings import Settings

#: A socket's path has 108 bytes on Linux and 104 on macOS, its end included.
SOCKET_PATH_BYTES_MAX = 100
LONGEST_SOCKET = "servers/engine_logic_redis.sock"

#: 192 random bits: nothing to guess.
PASSWORD_BYTES = 24


class ProcessRecord(msgspec.Struct, frozen=True):
    """A process of this home, recognised after a crash by id and start time together."""

    name: str
    pid: int
    #: Seconds since 1970 by the system's own clock ticks.
    started_s: float


class State(msgspec.Struct, frozen=True):
    """What a home remembers between runs."""

    ports: dict[str, int] = {}
    processes: tuple[ProcessRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one home, and the account that its servers run as."""

    folder: Path
    account: Account

    @property
    def log(self) -> Path:
        """Folder of the logs."""
        return self.folder / "log"

    @property
    def configuration(self) -> Path:
        """Folder of the servers' configuration, rewritten at every start."""
        return self.folder / "configuration"

    @property
    def run(self) -> Path:
        """Folder of the sockets; a short private one where this home's own would be too long."""
        own = self.folder / "run"
        if len(os.fsencode(own / LONGEST_SOCKET)) <= SOCKET_PATH_BYTES_MAX:
            return own
        # /tmp and not $TMPDIR: two processes of one user may have different ones.
        return Path("/tmp") / short_name(self.folder)  # noqa: S108  (owner and mode are checked)

    @property
    def sockets(self) -> Path:
        """Folder of the servers' sockets; only their account enters it."""
        return self.run / "servers"

    @property
    def control_socket(self) -> Path:
        """Where the keeper answers."""
        return self.run / "keeper.sock"

    def data(self, name: ServerName) -> Path:
        """Folder of one server's data."""
        return self.folder / name

    def log_file(self, name: str) -> Path:
        """Log of a server, of the keeper or of the workers."""
        return self.log / f"{name}.log"

    @property
    def outer_mode(self) -> int:
        """Mode of folders which the servers' account has to pass through."""
        return 0o700 if self.account.uid == os.geteuid() else 0o711


def short_name(folder: Path) -> str:
    """Name for this home outside of it: different for each user and each home."""
    return f"ngb-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:10]}"


def open_home(settings: Settings) -> Home:
    """The home that the settings name, made ready for a keeper.

    Raises HostError when it cannot be written, belongs to somebody else, or cannot be entered by
    the account that has to run the servers.
    """
    home = named_home(settings)
    try:
        if not home.folder.exists():
            _make_whole(home.folder, home.outer_mode)
        _check_owner(home.folder, home)
        own_folder(home.log, 0o700)
    except OSError as error:
        raise HostError(
            f"home {str(home.folder)!r} cannot be written: {error.strerror}",
            hint="set NGB_HOME to a folder that you may write",
            home=str(home.folder),
        ) from None
    _check_ways(home)
    return home


def _make_whole(folder: Path, mode: int) -> None:
    """Make a folder that is never seen with another mode, also when two do so at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    draft.chmod(mode)
    try:
        draft.rename(folder)
    except OSError:
        draft.rmdir()
        if not folder.is_dir():
            raise


def named_home(settings: Settings) -> Home:
    """The home that the settings name, whether it exists or not."""
    return Home(settings.home.expanduser().resolve(), server_account())


def _check_owner(folder: Path, home: Home) -> None:
    if folder.stat().st_uid != os.geteuid():
        raise HostError(
            f"home {str(home.folder)!r} belongs to user id {folder.stat().st_uid}, "
            f"and this is user id {os.geteuid()}",
            hint="run as its owner, or set NGB_HOME to a folder of your own",
            home=str(home.folder),
        )


def _check_ways(home: Home) -> None:
    closed = first_closed_folder(home.folder, home.account)
    if closed is not None:
        raise HostError(
            f"home {str(home.folder)!r} cannot be reached by the account {home.account.name!r}, "
            f"which runs PostgreSQL because it refuses root: {str(closed)!r} is closed to it",
            hint="set NGB_HOME to a folder outside of it, such as /var/lib/neural-gpu-bus, "
            "or run as an ordinary user",
            home=str(home.folder),
        )


def own_folder(folder: Path, mode: int, account: Account | None = None) -> Path:
    """A folder of ours (or of that account) with that mode; made when missing.

    Raises HostError when somebody else made it before us, which in /tmp or /dev/shm is an attack.
    """
    try:
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        pass
    status = folder.lstat()
    uid = os.geteuid() if account is None else account.uid
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        raise HostError(
            f"{str(folder)!r} is no folder of user id {uid}",
            hint="somebody else made it: remove it, or set NGB_HOME to another folder",
            folder=str(folder),
        )
    if stat.S_IMODE(status.st_mode) != mode:
        folder.chmod(mode)
    return folder


def memory_folder(settings: Settings) -> Path:
    """Shared memory of this home: a folder of its own, so that removing it removes nothing else."""
    memory_file_system = Path("/dev/shm")  # noqa: S108  (owner and mode are checked)
    parent = settings.memory_folder or (
        memory_file_system if memory_file_system.is_dir() else Path(tempfile.gettempdir())
    )
    return parent.expanduser().resolve() / short_name(named_home(settings).folder)


def write_private(path: Path, text: bytes, account: Account | None = None) -> None:
    """Replace a file whole, readable by its owner (or that account) alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(file)
        if account is not None and account.uid != os.geteuid():
            os.fchown(file, account.uid, account.gid)
    draft.replace(path)


def read_state(home: Home) -> State:
    """What the last run left; nothing when there was none or its file is broken."""
    try:
        return msgspec.json.decode((home.folder / "state.json").read_bytes(), type=State)
    except (FileNotFoundError, msgspec.DecodeError):
        return State()


def write_state(home: Home, state: State) -> None:
    """Remember for the next run."""
    write_private(home.folder / "state.json", msgspec.json.encode(state))


def read_passwords(home: Home) -> dict[ServerName, str]:
    """Passwords of this home's servers, made at first use."""
    file = home.folder / "secrets.json"
    if not file.exists():
        made = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in SERVER_NAMES}
        write_private(file, msgspec.json.encode(made))
    return msgspec.json.decode(file.read_bytes(), type=dict[ServerName, str])


def take_lock(home: Home) -> int | None:
    """Descriptor that makes its holder this home's one keeper; None when another holds it.

    The kernel frees it when the holder dies.
    """
    file = os.open(home.folder / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def is_kept(home: Home) -> bool:
    """Whether a keeper lives for that home, ready or not."""
    if not (home.folder / "keeper.lock").exists():
        return False
    file = take_lock(home)
    if file is None:
        return True
    os.close(file)
    return False


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours with all in it; missing is fine, somebody else's is left alone."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
