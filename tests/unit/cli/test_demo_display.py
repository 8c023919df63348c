"""The progress of a demo or a benchmark, which other people's libraries run beside."""

from __future__ import annotations

import ctypes
import signal

import pytest

from neural_gpu_bus.cli.demo_tables import Display

IGNORED = 1  # SIG_IGN


def test_a_step_hears_ctrl_c_again_after_a_library_took_it() -> None:
    display = Display()
    ctypes.CDLL(None).signal(int(signal.SIGINT), ctypes.c_void_p(IGNORED))
    signal.raise_signal(signal.SIGINT)  # nobody hears it

    display.step()

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        signal.raise_signal(signal.SIGINT)
