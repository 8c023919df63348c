"""Everything ``ngb doctor`` asks, in groups. It starts nothing and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neural_gpu_bus import engines
from neural_gpu_bus.embedded import memory_folder
from neural_gpu_bus.status.checks import Check, Verdict
from neural_gpu_bus.status.host import check_host
from neural_gpu_bus.status.optional_parts import check_optional_parts
from neural_gpu_bus.status.servers import check_servers

if TYPE_CHECKING:
    from neural_gpu_bus.settings import Settings


def examine(settings: Settings) -> list[tuple[str, list[Check]]]:
    """Groups of answers, each with its title."""
    return [
        ("Host", check_host(memory_folder(settings), settings.memory_limit_bytes)),
        ("Engines", _check_engines()),
        ("Servers", check_servers(settings)),
        ("Optional parts", check_optional_parts()),
    ]


def _check_engines() -> list[Check]:
    return [
        Check(
            found.name,
            Verdict.GOOD if found.available else Verdict.LIMITED,
            found.detail,
            found.advice,
        )
        for found in engines.capabilities()
    ]
