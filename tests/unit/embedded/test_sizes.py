"""Sizes follow the machine within their limits."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from neural_gpu_bus.embedded.sizes import GIB, MIB, POSTGRES_CONNECTIONS_MAX, sizes_for


@pytest.mark.parametrize("machine_gib", [1, 4, 16, 64, 1024])
def test_all_servers_together_leave_room(machine_gib: int) -> None:
    sizes = sizes_for(machine_gib * GIB, 100 * GIB)
    settings_bytes = machine_gib * GIB // 4 + machine_gib * GIB // 8

    limits = sizes.shared_buffers_bytes + 2 * sizes.traditional_redis_bytes_max

    assert limits + settings_bytes <= machine_gib * GIB * 10 // 16
    assert sizes.work_mem_bytes * POSTGRES_CONNECTIONS_MAX <= 400 * MIB


def test_limits_hold_at_both_ends() -> None:
    small, large = sizes_for(256 * MIB, 0), sizes_for(4096 * GIB, 4096 * GIB)

    assert astuple(small) == (64 * MIB, 4 * MIB, 64 * MIB, 256 * MIB, 64 * MIB)
    assert astuple(large) == (2 * GIB, 4 * MIB, 1 * GIB, 4 * GIB, 4 * GIB)
