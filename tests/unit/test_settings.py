"""Settings: file, environment, arguments in that order; secrets hidden; errors say what may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.settings import GIB, Settings, load_settings

SECRET = "s3cret-pass"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NGB_CONFIG", raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"NGB_{name.upper()}", raising=False)


def test_every_setting_has_a_sentence() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_arguments_win_over_environment_over_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ngb.toml").write_text("workers = 2\njob_lease_s = 2.5\nwait_timeout_s = 9\n")
    monkeypatch.setenv("NGB_WORKERS", "3")
    monkeypatch.setenv("NGB_JOB_LEASE_S", "3.5")

    settings = load_settings(workers=4)

    assert (settings.workers, settings.job_lease_s, settings.wait_timeout_s) == (4, 3.5, 9.0)


def test_ngb_config_names_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("workers = 7\n")
    monkeypatch.setenv("NGB_CONFIG", str(other))

    assert load_settings().workers == 7


def test_secrets_are_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGB_POSTGRES_DSN", f"postgresql://u:{SECRET}@h/d")

    settings = load_settings()

    assert settings.postgres_dsn is not None
    assert SECRET in settings.postgres_dsn.get_secret_value()
    assert SECRET not in repr(settings) + str(settings) + str(settings.model_dump())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": -1}, "workers: input should be greater than or equal to 0"),
        ({"job_lease_s": "soon"}, "job_lease_s: input should be a valid number"),
        ({"wokers": 1}, "wokers: extra inputs are not permitted"),
    ],
)
def test_a_bad_setting_is_named_with_what_it_may_be(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(BadSettingError, match=message):
        load_settings(**arguments)


def test_a_bad_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BadSettingError, match="postgres_dsn") as caught:
        load_settings(postgres_dsn={"password": SECRET})

    assert SECRET not in str(caught.value)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ngb.toml").write_text("workers = \n")

    with pytest.raises(BadSettingError, match=r"cannot read settings from 'ngb\.toml'"):
        load_settings()


def test_a_mistyped_variable_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGB_POSTGRES_DNS", "postgresql://h/d")

    with pytest.raises(BadSettingError, match="no setting NGB_POSTGRES_DNS") as caught:
        load_settings()
    assert "did you mean 'NGB_POSTGRES_DSN'?" in caught.value.hint


def test_a_named_file_that_is_missing_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGB_CONFIG", "/nowhere/ngb.toml")

    with pytest.raises(BadSettingError, match="which is no file"):
        load_settings()


def test_memory_limits_scale_with_the_machine() -> None:
    settings = load_settings()

    assert 0 < settings.compute_redis_limit_bytes <= 8 * GIB
    assert 0 < settings.memory_limit_bytes <= 16 * GIB
    assert load_settings(memory_bytes_max=1 << 21).memory_limit_bytes == 1 << 21


def test_an_empty_memory_folder_is_none_wherever_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_settings(memory_folder="").memory_folder is None
    assert load_settings(memory_folder=None).memory_folder is None
    (tmp_path / "ngb.toml").write_text('memory_folder = ""\n')
    assert load_settings().memory_folder is None
    monkeypatch.setenv("NGB_MEMORY_FOLDER", "")
    assert load_settings().memory_folder is None
    assert load_settings(memory_folder=".").memory_folder == Path()
