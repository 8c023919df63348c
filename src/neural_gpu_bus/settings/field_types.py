"""Types of settings with their limits: what several of them have alike."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

GIB = 1 << 30

#: Ports are in PostgreSQL's and Redis's usual neighbourhood; 6380 to 6382 come from the original
#: design.
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
Port = Annotated[int, Field(ge=LOWEST_PORT, le=HIGHEST_PORT)]

Percent = Annotated[float, Field(ge=0, le=100)]
#: In seconds.
UpToOneDay = Annotated[float, Field(gt=0, le=86_400)]
#: Of the planner, where a page read in order costs 1; None for the server's own. Limits of what may
#: be None are within one annotation: the reference prints a field's own.
Cost = Annotated[float | None, Field(gt=0, le=1000)]
