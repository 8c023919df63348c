"""PostgreSQL tables and Redis values as live, read-only columns in shared memory, with compute
attached.
"""

from __future__ import annotations

__version__ = "0.1.0"
