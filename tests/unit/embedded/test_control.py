"""Messages survive their line."""

from __future__ import annotations

import pytest

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.embedded.control import (
    Attach,
    Attached,
    Done,
    Progress,
    Refused,
    Reply,
    Status,
    Stay,
    Stop,
    decode_reply,
    decode_request,
    encode,
)
from neural_gpu_bus.errors import ProtocolError


@pytest.mark.parametrize(
    "request_", [Attach("1", True, {"postgres_dsn": "digest"}), Status(), Stay(), Stop()]
)
def test_requests_come_back(request_: Attach | Status | Stay | Stop) -> None:
    line = encode(request_)

    assert line.count(b"\n") == 1
    assert decode_request(line) == request_


@pytest.mark.parametrize(
    "reply",
    [
        Progress("a\nb"),
        Done(),
        Attached({"postgres": "x"}, {"postgres": "y"}, "/dev/shm/z"),
        Refused(ErrorRecord("DiskFullError", "no room", "make some", {"folder": "/x"})),
    ],
)
def test_replies_come_back(reply: Reply) -> None:
    assert decode_reply(encode(reply)) == reply


def test_the_end_can_be_asked_for_across_versions() -> None:
    """This line is the promise: no later version may read it otherwise."""
    assert decode_request(b'{"type":"stop","added later":1}\n') == Stop()


@pytest.mark.parametrize("line", [b"", b"{}\n", b'{"type":"unknown"}\n', b"\xff\n"])
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="no request of this keeper"):
        decode_request(line)
    with pytest.raises(ProtocolError, match="answered something unknown"):
        decode_reply(line)
