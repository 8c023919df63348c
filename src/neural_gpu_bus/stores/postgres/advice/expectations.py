"""What a plane of these settings will ask of the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neural_gpu_bus.stores.postgres.connections.query_classes import build_query_classes

if TYPE_CHECKING:
    from neural_gpu_bus.settings import Settings


@dataclass(frozen=True, slots=True)
class Expectations:
    """The plane's side of what is judged."""

    connections_max: int
    #: Memory of the server's machine; None where nobody said it.
    server_bytes: int | None
    query_memory_percent: float
    #: What queries of these classes set for themselves.
    hot_settings: Mapping[str, str]
    query_settings: Mapping[str, str]


def expectations(settings: Settings) -> Expectations:
    """Those of a plane with these settings; BadSettingError as of ``build_query_classes``."""
    classes = build_query_classes(settings)
    return Expectations(
        settings.postgres_connections_max,
        settings.postgres_host_bytes,
        settings.postgres_query_memory_percent,
        classes["hot"].server_settings,
        classes["query"].server_settings,
    )
