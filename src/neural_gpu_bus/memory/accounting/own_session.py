"""This process in a memory folder: its corner, its counters, its list of what it has mapped.

One for each process and folder, however many planes it opens. After fork the child has its own, in
which everything that it inherited is listed again.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from neural_gpu_bus.memory.accounting.maps import NOWHERE, Kind, OwnMaps
from neural_gpu_bus.memory.accounting.processes import OwnCounters, ProcessTable
from neural_gpu_bus.memory.catalog.index import Index
from neural_gpu_bus.memory.files.folder import Identity, Session, gone, identity

#: By identity: where a keeper was killed, another folder comes to lie at the path of the one that
#: planes of this process may still have open.
_open_sessions: dict[Identity, OwnSession] = {}
#: In a child made by fork: its parent's, until it has its own.
_inherited: dict[Identity, OwnSession] = {}
_opening = threading.RLock()


class Listed:
    """One mapping in the list of this process; ``end`` is for its finalizer."""

    __slots__ = ("_place", "_session", "kind", "nbytes", "uuid")

    def __init__(self, session: OwnSession, uuid: str, nbytes: int, kind: Kind) -> None:
        self.uuid, self.nbytes, self.kind = uuid, nbytes, kind
        self.enter(session)

    def enter(self, session: OwnSession) -> None:
        """Stand in this session's list from now on."""
        self._session, self._place = session, NOWHERE
        session.listed.add(self)
        session.counters.add_mapped(self.nbytes)
        try:
            self._place = session.maps.add(self.uuid, self.nbytes, self.kind)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """It was unmapped; harmless twice."""
        if self in self._session.listed:
            self._session.listed.discard(self)
            self._session.maps.remove(self._place)
            self._session.counters.add_mapped(-self.nbytes)


class OwnSession:
    """The corner, the counters and the list, while at least one plane uses them."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.identity = identity(folder)
        with index.exclusive():
            self.processes = ProcessTable(folder)
            self.corner = Session(folder)
            self.counters: OwnCounters = self.processes.claim(self.corner.uuid, os.getpid())
        self.maps = OwnMaps(self.corner.path)
        self.listed: set[Listed] = set()
        self.users = 0

    def close(self, index: Index) -> None:
        """Leave; what was counted stays counted."""
        if identity(self.identity[0]) == self.identity:  # else nobody sums its counters any more
            with index.exclusive():
                self.processes.release(self.counters)
        self.maps.close()
        self.corner.close()

    def inherited_by(self, own: OwnSession) -> None:
        """In a child made by fork: list in its own session what it got from its parent."""
        own.users += self.users
        for listed in list(self.listed):
            listed.enter(own)
        self.maps.forked_in_child()


def open_session(folder: Path, index: Index) -> OwnSession:
    """This process's session of a folder, and one more use of it."""
    with _opening:
        session = _open_sessions.get(identity(folder))
        if session is None:
            session = OwnSession(folder, index)
            _open_sessions[session.identity] = session
        session.users += 1
        return session


def close_session(session: OwnSession, index: Index) -> None:
    """Give up one use; with the last one the process leaves the folder."""
    with _opening:
        session.users -= 1
        if session.users == 0 and _open_sessions.get(session.identity) is session:
            del _open_sessions[session.identity]
            session.close(index)


def session_after_fork(inherits: Identity, index: Index) -> OwnSession:
    """The child's session in place of its parent's; the first of its planes to ask makes it.

    Raises what opening a memory raises, HostError where another one lies at its path; then the
    child has none, and may ask again.
    """
    with _opening:
        own = _open_sessions.get(inherits)
        if own is None:
            folder = inherits[0]
            if identity(folder) != inherits:
                raise gone(folder)
            own = _open_sessions[inherits] = OwnSession(folder, index)
        inherited = _inherited.pop(inherits, None)
        if inherited is not None:
            inherited.inherited_by(own)
        return own


def list_mapping(folder: Path, uuid: str, nbytes: int, kind: Kind) -> Listed | None:
    """Put a mapping on the list of this process; None where it has not opened that folder."""
    session = _open_sessions.get(identity(folder))
    return None if session is None else Listed(session, uuid, nbytes, kind)


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603  another thread of the parent may hold it for ever
    _opening = threading.RLock()
    for session in _open_sessions.values():
        # At once: a child that can open none of its own must not make its parent live for ever.
        session.corner.forget()
    _inherited.update(_open_sessions)
    _open_sessions.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
