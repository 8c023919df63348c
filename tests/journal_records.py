"""Records of a journal as they lie on the disk."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    RecordMetadata,
    encode_body,
    encode_header,
)


def whole_record(metadata: RecordMetadata, payload: bytes, sequence: int, journal: str) -> bytes:
    """Header and body, as the writer sends them one after the other."""
    body = encode_body(metadata, payload, journal)
    return b"".join((encode_header(body, sequence, journal), body.metadata, body.payload))
