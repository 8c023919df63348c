"""Which loopback port each server of this home uses, and why not the asked one."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from neural_gpu_bus.embedded.loopback import choose_port, holder
from neural_gpu_bus.embedded.records import ServerName

log = logging.getLogger(__name__)


class PortBook:
    """Ports of one home's servers. ``remembered``: those of the last run."""

    def __init__(self, asked: Mapping[ServerName, int], remembered: Mapping[str, int]) -> None:
        self.asked = dict(asked)
        #: Ports in use.
        self.chosen: dict[ServerName, int] = {}
        #: Who holds an asked port that could not be used, in words.
        self.holders: dict[ServerName, str] = {}
        self._remembered = remembered

    def choose(self, name: ServerName) -> int:
        """A free port for that server: see ``choose_port``."""
        asked = self.asked[name]
        others = {port for other, port in self.asked.items() if other != name}
        others |= {port for other, port in self.chosen.items() if other != name}
        port = choose_port(asked, self._remembered.get(name), others)
        self.chosen[name] = port
        if port == asked:
            self.holders.pop(name, None)
            return port
        self.holders[name] = holder(asked) or "another server of this home"
        log.warning(
            "port %d asked for %s is held by %s; using %d", asked, name, self.holders[name], port
        )
        return port
