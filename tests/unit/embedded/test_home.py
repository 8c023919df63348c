"""Paths, owners and modes of a home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fix_servers import short_folder
from neural_gpu_bus.embedded.account import current_account
from neural_gpu_bus.embedded.home import (
    SOCKET_PATH_BYTES_MAX,
    Home,
    ProcessRecord,
    State,
    memory_folder,
    named_home,
    open_home,
    own_folder,
    read_passwords,
    read_state,
    remove_folder,
    write_private,
    write_state,
)
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.settings import Settings


def home_at(folder: Path) -> Home:
    return Home(folder, current_account())


def test_sockets_are_short_wherever_the_home_is() -> None:
    near, far = home_at(Path("/var/ngb")), home_at(Path("/") / ("long" * 30))

    assert near.run == Path("/var/ngb/run")
    assert far.run != far.folder / "run"
    for home in (near, far):
        longest = home.sockets / "engine_logic_redis.sock"
        assert len(os.fsencode(longest)) <= SOCKET_PATH_BYTES_MAX


@pytest.mark.parametrize("name", ['a"b', "a,b", "a[1]", "a'b", "ä"])
def test_sockets_have_plain_names_wherever_the_home_is(name: str) -> None:
    assert home_at(Path("/var") / name).run.parent == Path("/tmp")


@pytest.mark.parametrize("place", ["file", "file/below", "file/below/that"])
def test_a_home_that_is_a_file_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(HostError, match=f"{place}' cannot be used: .*file' is a file") as raised:
        named_home(Settings(home=tmp_path / place))

    assert "NGB_HOME" in raised.value.hint


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "a\udcffb"])
def test_a_home_with_control_characters_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HostError, match="control characters"):
        named_home(Settings(home=tmp_path / name))


def test_a_loop_of_links_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(HostError, match=r"cannot be used: .*loop"):
        named_home(Settings(home=tmp_path / "loop" / "home"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_new_home_is_reachable_whatever_the_umask() -> None:
    with short_folder() as folder:
        mask = os.umask(0o077)
        try:
            home = open_home(Settings(home=folder / "new" / "nested" / "home"))
        finally:
            os.umask(mask)

        assert [
            path.stat().st_mode & 0o777 for path in (home.folder, *home.folder.parents[:2])
        ] == [home.outer_mode] * 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_refused_home_leaves_no_folder() -> None:
    with short_folder(0o700) as closed:
        with pytest.raises(HostError, match="is closed to it"):
            open_home(Settings(home=closed / "new" / "home"))

        assert list(closed.iterdir()) == []


@pytest.mark.parametrize("text", ["{broken", "{}", '{"postgres": "one"}', '["postgres"]'])
def test_broken_passwords_name_their_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)

    with pytest.raises(HostError, match=r"secrets\.json' does not hold the passwords") as raised:
        read_passwords(home_at(tmp_path))

    assert "remove it" in raised.value.hint


def test_each_home_has_its_own_memory(tmp_path: Path) -> None:
    one = memory_folder(Settings(home=tmp_path / "one"))
    other = memory_folder(Settings(home=tmp_path / "other"))
    named = memory_folder(Settings(home=tmp_path / "one", memory_folder=tmp_path))

    assert one != other
    assert one.name == named.name
    assert named.parent == tmp_path


def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(HostError, match="is no folder of user id"):
        own_folder(tmp_path / "link", 0o700)


def test_an_own_folder_gets_its_mode(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o755)

    assert own_folder(tmp_path / "folder", 0o700).stat().st_mode & 0o777 == 0o700


def test_a_link_is_not_followed_when_removing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    remove_folder(tmp_path / "link")
    remove_folder(tmp_path / "missing")

    assert (tmp_path / "real").is_dir()


def test_private_files_are_private_and_whole(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"one")
    write_private(tmp_path / "file", b"other")

    assert (tmp_path / "file").read_bytes() == b"other"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_state_and_passwords_are_remembered(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    assert read_state(home) == State()
    state = State({"postgres": 5440}, (ProcessRecord("postgres", 1, 2.5),))

    write_state(home, state)

    assert read_state(home) == state
    assert read_passwords(home) == read_passwords(home)
    assert len(set(read_passwords(home).values())) == 4
    (tmp_path / "state.json").write_text("{broken")
    assert read_state(home) == State()
