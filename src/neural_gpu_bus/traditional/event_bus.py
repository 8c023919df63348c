"""Events in Redis Streams, laid out so that NautilusTrader's message bus reads them as its own.

Its readers up to 1.228 take an entry's fields by position (topic first, payload third value),
later ones by name; topic, payload, type, encoding in that order serves both. Times travel as
decimal strings: its version 1 refuses integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.errors import ProtocolError

if TYPE_CHECKING:
    import redis

#: Entries kept in one stream: an hour at 28 events a second; older ones go as new ones come.
EVENTS_MAX = 100_000
#: Entries one read returns at most.
READ_EVENTS_MAX = 10_000
STREAM_PREFIX = "ngb:stream:"


class Event(msgspec.Struct, frozen=True):
    """One entry of a stream."""

    #: Stream position; hand it to ``read`` to go on behind it.
    id: str
    topic: str
    #: What the payload describes, e.g. ``JobDone`` or ``TableLoaded``.
    type: str
    payload: dict[str, Any]


class EventBus:
    """One Redis of layer 4: publishing never waits for readers."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        translated: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._client = client
        self._translated = translated

    def publish(self, topic: str, kind: str, payload: Mapping[str, Any]) -> str:
        """Append one event and return its stream position."""
        fields: dict[Any, Any] = {
            "topic": topic,
            "payload": msgspec.json.encode(payload),
            "type": kind,
            "encoding": "json",
        }
        with self._translated():
            entry: Any = self._client.xadd(STREAM_PREFIX + topic, fields, maxlen=EVENTS_MAX)
        return str(entry, "ascii")

    def read(self, topic: str, *, after: str = "0", timeout_s: float = 0.0) -> list[Event]:
        """Events behind ``after``, oldest first; with a timeout waits that long for the first."""
        block_ms = max(1, int(timeout_s * 1000)) if timeout_s > 0 else None
        with self._translated():
            found: Any = self._client.xread(
                {STREAM_PREFIX + topic: after}, count=READ_EVENTS_MAX, block=block_ms
            )
        return [
            _event(topic, entry_id, fields)
            for _stream, entries in found or ()
            for entry_id, fields in entries
        ]

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()


def _event(topic: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    try:
        payload = msgspec.json.decode(fields[b"payload"], type=dict[str, Any])
        kind = fields.get(b"type", b"").decode()
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(
            f"entry {entry_id.decode()} of stream {STREAM_PREFIX + topic!r} is no event: {error}",
            hint="something else writes to that stream; give it another topic",
            position=0,
        ) from None
    return Event(entry_id.decode(), topic, kind, payload)
