"""One connection to a keeper: requests one way, replies the other."""

from __future__ import annotations

import socket
from collections.abc import Callable

from neural_gpu_bus.embedded.control import (
    LINE_BYTES_MAX,
    Progress,
    Refused,
    Reply,
    Request,
    decode_reply,
    encode,
)
from neural_gpu_bus.embedded.home import Home
from neural_gpu_bus.embedded.lock import holder
from neural_gpu_bus.error_records import from_record
from neural_gpu_bus.errors import HostError

Report = Callable[[str], None]


class Connection:
    """Requests one way, replies the other, over the control socket of a home."""

    def __init__(self, home: Home, silence_s_max: float) -> None:
        self._home = home
        self._silence_s_max = silence_s_max
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(home.control_socket))
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(silence_s_max)
        self._lines = self._socket.makefile("rb")

    def ask(self, request: Request, report: Report | None = None) -> Reply:
        """Send, wait for the reply that is no progress.

        Raises what the keeper refused with, HostError when it is silent for too long, and
        ConnectionError when it is gone.
        """
        self._socket.sendall(encode(request))
        while True:
            try:
                line = self._lines.readline(LINE_BYTES_MAX)
            except TimeoutError:
                raise self._silent() from None
            if not line:
                raise ConnectionResetError("the keeper closed the connection")
            reply = decode_reply(line)
            if isinstance(reply, Refused):
                raise from_record(reply.error)
            if not isinstance(reply, Progress):
                return reply
            if report:
                report(reply.text)

    def _silent(self) -> HostError:
        found = holder(self._home)
        name = f", pid {found.pid}," if found else ""
        return HostError(
            f"the keeper of {str(self._home.folder)!r}{name} gave no answer for "
            f"{self._silence_s_max:.0f} s",
            hint=f"see {self._home.log_file('keeper')}; `ngb down` ends it, if need be by force",
            home=str(self._home.folder),
        )

    def close(self) -> None:
        """End the connection."""
        self._lines.close()
        self._socket.close()
