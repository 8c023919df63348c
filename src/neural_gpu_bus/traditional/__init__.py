"""Layer 4: the buses that other systems use already. Events come in there and results go out
there.
"""

from neural_gpu_bus.traditional.event_bus import Event, EventBus

__all__ = ["Event", "EventBus"]
