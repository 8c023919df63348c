"""``ngb memory`` and ``ngb metrics`` beside processes that are stopped, wherever they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from documented_failures import is_documented
from fix_servers import wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.cli.memory import look_at_memory
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.catalog import writers_turn
from neural_gpu_bus.settings import Settings, load_settings

HOLDING = """
import os, signal, sys
from pathlib import Path
from neural_gpu_bus.memory import UnifiedMemory
memory = UnifiedMemory(Path(sys.argv[1]), 64 << 20)
held = memory.get("held")
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
PUBLISHING = """
import os, signal, sys
from pathlib import Path
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.catalog.index import Index
memory = UnifiedMemory(Path(sys.argv[1]), 64 << 20)
with Index(Path(sys.argv[1])).exclusive():
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def settings(memory_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NGB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NGB_MEMORY_FOLDER", str(memory_folder))
    return load_settings()


@pytest.fixture
def memory(settings: Settings) -> Iterator[UnifiedMemory]:
    opened = UnifiedMemory(embedded.memory_folder(settings), 64 << 20)
    opened.put("held", {"x": [1.0] * 1000})
    yield opened
    opened.close()


@contextmanager
def stopped(program: str, folder: Path) -> Iterator[int]:
    """Pid of a process that ran the program until it stopped itself."""
    process = subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        seen = psutil.Process(process.pid)
        wait_until(lambda: seen.status() == psutil.STATUS_STOPPED, "the stop")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_stopped_reader_shows_by_pid_and_by_what_it_keeps(
    memory: UnifiedMemory, settings: Settings
) -> None:
    with stopped(HOLDING, memory.folder) as pid:
        before = look_at_memory(settings)
        memory.drop("held")
        after = {one.pid: one for one in look_at_memory(settings).memory.processes}

    assert pid in before.datasets[0].pids
    assert (after[pid].state, after[pid].mapped_blocks) == ("stopped", 1)
    assert after[pid].gone_bytes > 8_000
    assert after[pid].gone_since_ns >= after[pid].started_ns


@pytest.mark.slow
def test_whoever_was_stopped_while_publishing_is_named_and_nobody_hangs(
    memory: UnifiedMemory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers_turn, "WAIT_S_MAX", 0.2)
    with (
        stopped(PUBLISHING, memory.folder) as pid,
        pytest.raises(HostError, match=r"writing to the index .* for over 0.2 s") as caught,
    ):
        look_at_memory(settings)

    assert f"kill -CONT {pid}" in caught.value.hint
    told = f"ngb: {caught.value.what}\nhint: {caught.value.hint}"
    assert is_documented(told, "Somebody stopped while writing to memory")
    wait_until(lambda: look_at_memory(settings).datasets, "the lock of the killed")


@pytest.mark.slow
def test_metrics_are_served_on_loopback_until_ctrl_c(memory: UnifiedMemory) -> None:
    command = [sys.executable, "-m", "neural_gpu_bus", "metrics", "--listen", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(word for word in server.stderr.readline().split() if "http://" in word)
        with urllib.request.urlopen(address.rstrip(";")) as answer:
            text = answer.read().decode()
        os.kill(server.pid, signal.SIGINT)
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.communicate()

    assert address.startswith("http://127.0.0.1:")
    assert 'ngb_memory_datasets{region="shared"} 1.0' in text
