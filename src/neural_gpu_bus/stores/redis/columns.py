"""Whole frames under one key, as an Arrow IPC stream: one binary value, readable by anyone with
Arrow, equal when it is read back, types and NULLs kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import redis

from neural_gpu_bus.arguments import check_encodable, check_text
from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError, ProtocolError
from neural_gpu_bus.ports import ColumnStore
from neural_gpu_bus.stores.arrow_stream import END_OF_STREAM
from neural_gpu_bus.stores.redis.connection import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

Reply = TypeVar("Reply")

#: Redis's own limit on one value (proto-max-bulk-len).
VALUE_BYTES_MAX = 512 << 20

#: GET and SET of a whole value may be sent again: a second time changes nothing.
ATTEMPTS_MAX = 2


class RedisColumns(ColumnStore):
    """The ``ColumnStore`` on Redis or Valkey. ``client`` as ``connection.connect`` makes it; it is
    closed with this. ``address`` stands in messages. No key may begin with ``reserved_prefix``.
    """

    def __init__(self, client: redis.Redis, address: str, *, reserved_prefix: str = "") -> None:
        self._client = client
        self._address = address
        self._reserved_prefix = reserved_prefix

    def write(self, key: str, columns: Mapping[str, Any] | pa.Table) -> int:
        """Store and return the bytes sent. ``columns``: see ``as_arrow.as_table``.

        Raises BadParameterError for a key that cannot be used and above Redis's limit on one value,
        ServerFullError above its memory.
        """
        check_key(key, self._reserved_prefix)
        value = encode_stream(as_table(columns), key)
        with translated(self._address):
            _again(lambda: _set(self._client, key.encode(), memoryview(value).cast("B")))
        return value.size

    def read(self, key: str) -> pa.Table:
        """The columns under ``key``.

        Raises DatasetNotFoundError for a missing key, ProtocolError for a value that is no whole
        Arrow stream.
        """
        with translated(self._address):
            try:
                value: Any = _again(lambda: self._client.get(key))
            except redis.ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                raise _no_stream(key, "is no string value", 0) from None
        if value is None:
            raise DatasetNotFoundError(
                f"{self._address} has no key {key!r}",
                hint="write it first, or check whether it expired or was evicted",
                name=key,
            )
        return decode_stream(value, key)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


def check_key(key: str, reserved_prefix: str = "") -> None:
    """BadParameterError for what is no key, or one of the bus's own."""
    check_text("redis_key", key, "'risk:today'")
    check_encodable("redis_key", key)
    if reserved_prefix and key.startswith(reserved_prefix):
        raise BadParameterError(
            f"redis_key {key!r} is one of the compute bus's own: writing it would break the bus",
            hint=f"use a key that does not begin with {reserved_prefix!r}",
            parameter="redis_key",
        )


def _again(call: Callable[[], Reply]) -> Reply:
    """The call's reply, tried again where the connection broke."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return call()
        except redis.ConnectionError:
            continue
    return call()


def _set(client: redis.Redis, key: bytes, value: memoryview) -> None:
    """SET, framed here so that the value goes to the socket as it lies: redis-py copies it into
    the command first, 3 MB in 8.6 ms where this takes 0.8.
    """
    head = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key, len(value))
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([head, value, b"\r\n"])  # type: ignore[no-untyped-call]
        connection.read_response()
    finally:
        client.connection_pool.release(connection)


def encode_stream(table: pa.Table, key: str) -> pa.Buffer:
    """The table as one Arrow stream. Raises BadParameterError when Redis could not hold it."""
    sink = pa.BufferOutputStream()
    if table.nbytes <= VALUE_BYTES_MAX:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        value = sink.getvalue()
        if value.size <= VALUE_BYTES_MAX:
            return value
    raise BadParameterError(
        f"{key!r}: the columns take {table.nbytes:,} bytes, and Redis holds at most "
        f"{VALUE_BYTES_MAX:,} in one value",
        hint="store them in PostgreSQL or in shared memory (plane.put), or under several keys",
        parameter="columns",
    )


def decode_stream(value: bytes, key: str) -> pa.Table:
    """The table in an Arrow stream, over the same bytes. Raises ProtocolError; bytes from
    elsewhere are checked before anybody reads through their offsets.
    """
    try:
        table = pa.ipc.open_stream(pa.py_buffer(value)).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, EOFError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise _no_stream(key, f"is no Arrow stream ({said})", 0) from None
    if not value.endswith(END_OF_STREAM):
        raise _no_stream(key, "is a cut Arrow stream", len(value))
    return table


def _no_stream(key: str, why: str, position: int) -> ProtocolError:
    return ProtocolError(
        f"the value of {key!r} {why}",
        hint="check the key; read values of other programs with their own client",
        position=position,
    )
