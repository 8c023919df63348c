"""The folder of the private servers: what lies where, who owns it, what is remembered there."""

from __future__ import annotations

import errno
import hashlib
import os
import re
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
#: Paths that mean the same to all who read them. PostgreSQL's list of socket folders and libpq's
#: list of hosts know commas and quotes, and have no way to write each of them.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._ -]+")
#: Control characters break configuration files and terminals; the last range is how Python shows
#: bytes that are no UTF-8.
UNUSABLE_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

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
        """Folder of the sockets; a short plain one where this home's own would be too long, or
        has characters that an address cannot have.
        """
        own = self.folder / "run"
        short = len(os.fsencode(own / LONGEST_SOCKET)) <= SOCKET_PATH_BYTES_MAX
        if short and PLAIN_PATH.fullmatch(str(own)):
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
        # Before anything is made: a home that is refused leaves no folder.
        _check_ways(home)
        if not home.folder.exists():
            _make_whole(home.folder, home.outer_mode)
        own_folder(home.log, 0o700)
        if not os.access(home.folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise HostError(
            f"home {str(home.folder)!r} cannot be written: {error.strerror}",
            hint="set NGB_HOME to a folder that you may write",
            home=str(home.folder),
        ) from None
    return home


def _make_whole(folder: Path, mode: int) -> None:
    """Make a folder, and those around it, never seen with another mode, also when two do so at
    once.
    """
    if not folder.parent.exists():
        _make_whole(folder.parent, mode)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    draft.chmod(mode)
    try:
        draft.rename(folder)
    except OSError:
        draft.rmdir()
        if not folder.is_dir():
            raise


def named_home(settings: Settings) -> Home:
    """The home that the settings name, whether it exists or not.

    Raises HostError when it can be no folder, or belongs to somebody else.
    """
    folder = _named_folder(settings)
    _check_owner(folder)
    return Home(folder, server_account())


def _named_folder(settings: Settings) -> Path:
    try:
        folder = settings.home.expanduser().resolve()
        if UNUSABLE_CHARACTER.search(str(folder)):
            raise ValueError("its name has control characters, or bytes that are no UTF-8")
        _check_no_loop(folder)
        existing = _existing(folder)
        if not existing.is_dir():
            raise ValueError(f"{str(existing)!r} is a file and no folder")
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links is a RuntimeError
        reason = getattr(error, "strerror", None) or error
        raise HostError(
            f"home {str(settings.home)!r} cannot be used: {reason}",
            hint="set NGB_HOME to a folder, or to one that can be made",
            home=str(settings.home),
        ) from None
    return folder


def _check_no_loop(folder: Path) -> None:
    """From Python 3.13 on ``resolve`` leaves loops of links as they are."""
    try:
        folder.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("its links go round in a loop") from None


def _check_owner(folder: Path) -> None:
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise HostError(
            f"home {str(folder)!r} belongs to user id {folder.stat().st_uid}, "
            f"and this is user id {os.geteuid()}",
            hint="run as its owner, or set NGB_HOME to a folder of your own",
            home=str(folder),
        )


def _existing(folder: Path) -> Path:
    """The folder, or the innermost around it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _check_ways(home: Home) -> None:
    closed = first_closed_folder(_existing(home.folder), home.account)
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
    """Shared memory of this home: a folder of its own, so that removing it removes nothing else.

    Of a group it is one for all its members, whatever their homes, and nobody's keeper removes it.
    """
    memory_file_system = Path("/dev/shm")  # noqa: S108  (owner and mode are checked)
    parent = settings.memory_folder or (
        memory_file_system if memory_file_system.is_dir() else Path(tempfile.gettempdir())
    )
    group = settings.memory_group
    name = short_name(_named_folder(settings)) if group is None else f"ngb-group-{group}"
    return parent.expanduser().resolve() / name


def remove_own_memory(settings: Settings) -> None:
    """Give the memory of this home back to the host; a group's stays."""
    if settings.memory_group is None:
        remove_folder(memory_folder(settings))


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
    """Passwords of this home's servers, made at first use. Raises HostError for a broken file."""
    file = home.folder / "secrets.json"
    if not file.exists():
        made = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in SERVER_NAMES}
        write_private(file, msgspec.json.encode(made))
    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[ServerName, str])
    except msgspec.DecodeError:
        found = {}
    if not all(found.get(name) for name in SERVER_NAMES):
        raise HostError(
            f"{str(file)!r} does not hold the passwords of the private servers",
            hint="remove it: new ones are made at the next start, and no data is lost",
            file=str(file),
        )
    return found


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours with all in it; missing is fine, somebody else's is left alone."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)
