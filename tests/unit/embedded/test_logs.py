"""Logs stay bounded while their writers go on."""

from __future__ import annotations

import os
from pathlib import Path

from neural_gpu_bus.embedded.logs import bound_logs, last_lines, open_log


def test_a_writer_goes_on_in_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    with file.open("ab", buffering=0) as writer:
        writer.write(b"old line\n" * 100)
        bound_logs(tmp_path, bytes_max=500)
        writer.write(b"new line\n")

    assert file.read_text() == "new line\n"
    assert (tmp_path / "server.log.1").read_text() == "old line\n" * 100


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("line\n")

    bound_logs(tmp_path, bytes_max=500)

    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_last_lines_of_this_run_only(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    assert last_lines(file) == ""
    file.write_text("before\n" + "".join(f"line {number}\n" for number in range(20)))

    assert last_lines(file).splitlines()[-1] == "line 19"
    assert len(last_lines(file).splitlines()) == 8
    assert last_lines(file, start_bytes=file.stat().st_size - 8) == "line 19"
    assert last_lines(file, start_bytes=10_000).endswith("line 19")


def test_a_log_is_its_owners_alone_and_appended_to(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        for line in (b"one\n", b"other\n"):
            with open_log(tmp_path / "keeper.log") as log:
                log.write(line)
    finally:
        os.umask(mask)

    assert (tmp_path / "keeper.log").read_bytes() == b"one\nother\n"
    assert (tmp_path / "keeper.log").stat().st_mode & 0o777 == 0o600


def test_a_long_statement_does_not_hide_why_it_failed(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    file.write_text("ERROR:  could not write: No space left on device\nSTATEMENT:  CREATE VIEW\n")
    with file.open("a") as log:
        log.writelines(f"\tline {number}\n" for number in range(50))

    assert last_lines(file).splitlines()[0].endswith("No space left on device")
