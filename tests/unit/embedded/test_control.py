"""Messages survive their line; errors arrive as what they were."""

from __future__ import annotations

import pytest

from neural_gpu_bus.embedded.control import (
    Attach,
    Attached,
    Done,
    Progress,
    Refused,
    Status,
    Stay,
    Stop,
    as_error,
    decode_reply,
    decode_request,
    encode,
    refuse,
)
from neural_gpu_bus.errors import DiskFullError, NeuralGpuBusError, ProtocolError


@pytest.mark.parametrize(
    "request_", [Attach("1", True, {"postgres_dsn": "digest"}), Status(), Stay(), Stop()]
)
def test_requests_come_back(request_: Attach | Status | Stay | Stop) -> None:
    line = encode(request_)

    assert line.count(b"\n") == 1
    assert decode_request(line) == request_


@pytest.mark.parametrize(
    "reply",
    [Progress("a\nb"), Done(), Attached({"postgres": "x"}, {"postgres": "y"}, "/dev/shm/z")],
)
def test_replies_come_back(reply: Progress | Done | Attached) -> None:
    assert decode_reply(encode(reply)) == reply


def test_the_end_can_be_asked_for_across_versions() -> None:
    """This line is the promise: no later version may read it otherwise."""
    assert decode_request(b'{"type":"stop","added later":1}\n') == Stop()


def test_errors_arrive_as_what_they_were() -> None:
    sent = DiskFullError("no room", hint="make some", folder="/x")

    error = as_error(decode_refused(encode(refuse(sent))))

    assert type(error) is DiskFullError
    assert (error.what, error.hint, error.folder) == ("no room", "make some", "/x")


def test_an_error_of_a_later_version_is_still_one_of_ours() -> None:
    error = as_error(Refused("NotInventedYetError", "what", "hint", {}))

    assert type(error) is NeuralGpuBusError


@pytest.mark.parametrize("line", [b"", b"{}\n", b'{"type":"unknown"}\n', b"\xff\n"])
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="no request of this keeper"):
        decode_request(line)
    with pytest.raises(ProtocolError, match="answered something unknown"):
        decode_reply(line)


def decode_refused(line: bytes) -> Refused:
    reply = decode_reply(line)
    assert isinstance(reply, Refused)
    return reply
