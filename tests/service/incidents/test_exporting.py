"""Bundles that are made while the gateway runs, and how many are kept."""

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest

from service.errors import Unavailable
from service.incidents import bundles, exporting
from service.incidents.bundles import (
    MANIFEST,
    Manifest,
    Span,
    bundles_of,
    export,
    prune,
    read_bundle,
)
from service.reliability.slo import Mode
from service.replay import replay
from tests.service.gateway.inprocess import Inside, ask, inside
from tests.service.running import State, new_state, rows


def test_an_operator_and_degrade_mode_make_bundles(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state")

    async def work(gateway: Inside) -> None:
        assert (await gateway.post("/v1/turn", {"text": "hello"})).status == 200
        gateway.services.traces.event("breaker", "memory", {"state": "open"})
        assert (await gateway.post("/v1/incidents", {"last_s": 0})).status == 400
        made = await gateway.post("/v1/incidents", {"last_s": 60})
        assert (made.status, made.json["reason"]) == (201, "manual")
        assert made.json["counts"]["requests"] == 2
        assert made.json["counts"]["events"] == 1
        for heard in gateway.services.slo.on_change:
            heard(Mode.NORMAL)
            heard(Mode.DEGRADED)
        task = gateway.services.exporter._exporting
        assert task is not None
        await task
        headers = {"authorization": f"Bearer {gateway.state.observer}"}
        listed = (await ask(gateway.app, "GET", "/v1/incidents", headers, b"")).json["items"]
        assert [each["reason"] for each in listed] == ["manual", "degraded"]
        assert listed[0] == made.json
        bundle = state.directory.incidents / made.json["incident_id"]
        assert bundle.stat().st_mode & 0o077 == 0

    with inside(state) as gateway:
        asyncio.run(work(gateway))
    audited = "SELECT actor_role, effect_table FROM audit WHERE action = 'incident.export'"
    assert rows(state, audited) == [("operator", "incidents")]
    for path in state.directory.incidents.iterdir():
        assert replay(read_bundle(path)).diverging == []


def test_what_cannot_be_exported_is_said(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    async def flush() -> None:
        raise OSError("the disk is full")

    exporter = exporting.Exporter(state.directory, flush)
    state.directory.settings.write_text("none: {}\n")
    with pytest.raises(Unavailable, match="sonia"):
        asyncio.run(exporter.export(1000))
    monkeypatch.setattr(exporting.sys, "executable", "/none")
    with pytest.raises(Unavailable, match="not exported"):
        asyncio.run(exporting.Exporter(state.directory, flush).export(1000))
    assert not list(state.directory.root.glob("incidents/.*"))


@pytest.mark.parametrize("steps", range(10))
def test_whoever_gives_up_a_bundle_is_not_kept_waiting(state: State, steps: int) -> None:
    """However far it has come: everything is cancelled, as at the end of a loop."""

    async def flush() -> None:
        pass

    async def begin() -> None:
        exporting.Exporter(state.directory, flush).degraded()
        for _ in range(steps):
            await asyncio.sleep(0)

    ending = threading.Thread(target=asyncio.run, args=(begin(),), daemon=True)
    ending.start()
    ending.join(30.0)
    assert not ending.is_alive()


def test_the_oldest_bundles_give_way(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MOST_KEPT", 2)
    for number in range(3):
        name = f"inc_{number}"
        export(state.directory, Span(0, 1), name, number, state.directory.incidents / name)
    prune(state.directory)
    assert [each.incident_id for each in bundles_of(state.directory)] == ["inc_1", "inc_2"]
    manifest = state.directory.incidents / "inc_2" / MANIFEST
    assert msgspec.json.decode(manifest.read_bytes(), type=Manifest).counts == {
        "requests": 0,
        "decisions": 0,
        "events": 0,
    }
