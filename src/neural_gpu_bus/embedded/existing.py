"""Servers that the settings name: shown without their secrets, never started or stopped."""

from __future__ import annotations

from neural_gpu_bus.addresses import postgres_address, redis_address
from neural_gpu_bus.embedded.handover import existing_address
from neural_gpu_bus.embedded.records import ServerName, ServerStatus
from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.settings import Settings


def existing_status(settings: Settings, name: ServerName) -> ServerStatus:
    """What is known of an existing server without asking it."""
    address = existing_address(settings, name)
    text = address.get_secret_value() if address else ""
    try:
        place = postgres_address(text) if name == "postgres" else redis_address(text)
    except BadSettingError:
        place = "(address cannot be read)"
    return ServerStatus(name, "existing", place)
