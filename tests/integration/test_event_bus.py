"""Layer 4 on a real server: what is published is read, in order, by position and by name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import redis

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.traditional import EventBus
from neural_gpu_bus.traditional.event_bus import STREAM_PREFIX


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def topic(client: redis.Redis) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    yield name
    client.delete(STREAM_PREFIX + name)


def test_events_come_back_in_order_and_from_a_position(client: redis.Redis, topic: str) -> None:
    bus = EventBus(client)
    first = bus.publish(topic, "Result", {"rows": 1, "ts": "1700000000000000000"})
    bus.publish(topic, "Result", {"rows": 2, "ts": "1700000000000000001"})

    events = bus.read(topic)

    assert [event.payload["rows"] for event in events] == [1, 2]
    assert events[0].id == first
    assert [event.payload["rows"] for event in bus.read(topic, after=first)] == [2]


def test_fields_stand_in_the_order_that_positional_readers_need(
    client: redis.Redis, topic: str
) -> None:
    EventBus(client).publish(topic, "Result", {})

    ((_, fields),) = client.xrange(STREAM_PREFIX + topic)

    assert list(fields) == [b"topic", b"payload", b"type", b"encoding"]


def test_a_topic_without_events_is_empty_after_the_wait(client: redis.Redis, topic: str) -> None:
    assert EventBus(client).read(topic, timeout_s=0.01) == []


def test_foreign_entries_are_refused_by_position(client: redis.Redis, topic: str) -> None:
    client.xadd(STREAM_PREFIX + topic, {"payload": b"{not json"})

    with pytest.raises(ProtocolError, match="is no event"):
        EventBus(client).read(topic)
