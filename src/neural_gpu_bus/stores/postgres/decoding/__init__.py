"""COPY BINARY bytes to columns: pure, compiled. For callers with a connection of their own:
``decode_copy`` and what it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.decoding.copy_decoder import CopyDecoder, decode_copy
    from neural_gpu_bus.stores.postgres.decoding.known_types import KnownTypes
    from neural_gpu_bus.stores.postgres.decoding.type_questions import types_query, with_answer

__all__ = ["CopyDecoder", "KnownTypes", "decode_copy", "types_query", "with_answer"]

_HOMES = {
    "CopyDecoder": "copy_decoder",
    "decode_copy": "copy_decoder",
    "KnownTypes": "known_types",
    "types_query": "type_questions",
    "with_answer": "type_questions",
}


def __getattr__(name: str) -> Any:
    """Loaded on first use: the compiled loops take half a second."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
