"""How the command ends when it is interrupted before it has begun."""

from __future__ import annotations

import subprocess
import sys

import pytest

from neural_gpu_bus.cli import entry, main


def test_ctrl_c_that_a_library_made_an_error_of_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr(main, "run_commands", interrupted)
    with pytest.raises(SystemExit, match="130"):
        entry._run()
    assert capsys.readouterr().err == entry.INTERRUPTED + "\n"


def test_another_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(main, "run_commands", broken)
    with pytest.raises(RuntimeError, match="broken"):
        entry._run()


def test_a_process_that_read_a_csv_leaves_with_its_code_and_its_words() -> None:
    program = (
        "import atexit, sys\n"
        "from neural_gpu_bus.cli import entry, main\n"
        "import neural_gpu_bus.stores.files.csv_quotes\n"
        "atexit.register(print, 'the end')\n"
        "main.run_commands = lambda: sys.exit(7)\n"
        "entry.run()\n"
    )
    left = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (left.returncode, left.stdout) == (7, "the end\n")
