"""What goes over the keeper's control socket: one JSON object a line, requests one way, replies
the other.

A connection that sent ``Attach`` is a lease until it closes, and the kernel closes it when its
process dies. ``Stop`` and ``Status`` keep their form across versions, so that any version can end
any keeper.
"""

from __future__ import annotations

import msgspec

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.embedded.records import KeeperStatus, ServerName
from neural_gpu_bus.errors import ProtocolError

#: Longest line either side reads; a status of 64 workers has about 8 kB.
LINE_BYTES_MAX = 1 << 20


class Attach(msgspec.Struct, frozen=True, tag="attach"):
    """Tell me the addresses when all is ready; this connection is my lease."""

    version: str
    #: False for those that must not keep the servers alive, such as workers.
    counted: bool
    #: Digest of each setting that names servers or memory other than the private ones.
    existing: dict[str, str]


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Tell me how everything is."""


class Stay(msgspec.Struct, frozen=True, tag="stay"):
    """Run until told to stop, whoever comes and goes."""


class Follow(msgspec.Struct, frozen=True, tag="follow"):
    """Run the process of live tables: there are some now, or others."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Stop everything, whoever is attached."""


Request = Attach | Status | Stay | Follow | Stop


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Still starting; also sent each second as a sign of life."""

    text: str


class Attached(msgspec.Struct, frozen=True, tag="attached"):
    """Private servers only, with passwords: this goes over a socket that its owner alone opens."""

    addresses: dict[ServerName, str]
    loopback: dict[ServerName, str]
    memory_folder: str


class StatusReport(msgspec.Struct, frozen=True, tag="status_report"):
    """Answer to ``Status``."""

    status: KeeperStatus


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Answer to ``Stay``, ``Follow`` and ``Stop``."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """An error that the client raises as its own."""

    error: ErrorRecord


Reply = Progress | Attached | StatusReport | Done | Refused

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_replies: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """One line with its end."""
    return msgspec.json.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises ProtocolError for anything that is no request."""
    try:
        return _requests.decode(line)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"no request of this keeper: {error}", position=0) from None


def decode_reply(line: bytes) -> Reply:
    """Raises ProtocolError for anything that is no reply."""
    try:
        return _replies.decode(line)
    except msgspec.DecodeError as error:
        raise ProtocolError(
            f"the keeper answered something unknown: {error}",
            hint="it may be of another version: stop it with `ngb down`",
            position=0,
        ) from None
