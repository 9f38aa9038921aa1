"""What was decided is decided again in another process, from what was recorded, and otherwise where that is another."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.domain.confirmations import records as confirmations
from service.domain.tasks import claims
from service.domain.tasks.records import claim_of
from service.incidents.bundles import Manifest, Span, export, read_bundle
from service.replay import Replay, replay
from tests.service.gateway.inprocess import Inside, ask, inside
from tests.service.running import State, new_state, sonia

OLDER = Path(__file__).with_name("older")
"""A bundle of before admission and decisions on confirmations and tasks had inputs of their own."""
Change = Callable[[dict[str, Any]], object]


async def requests(gateway: Inside) -> None:
    """One of each kind, good and bad; the processes behind the gateway are down."""
    observer = {"authorization": f"Bearer {gateway.state.observer}"}
    forged = {"authorization": "Bearer tok_0.none", "content-type": "application/json"}
    for headers in ({}, observer, forged, {"authorization": "Basic x"}):
        for method, path in (
            ("GET", "/healthz"),
            ("GET", "/tasks"),
            ("POST", "/v1/turn"),
            ("GET", "/none"),
        ):
            await ask(gateway.app, method, path, headers, b"")
    opened = (await gateway.post("/v1/sessions", {"ttl_s": 60})).json["id"]
    issued = (await gateway.post("/v1/tokens", {"role": "operator", "ttl_s": 600})).json
    text = f"my token is {issued['token']}"
    body = {"text": text, "session_id": opened}
    assert (await gateway.post("/v1/turn", body)).status == 200
    assert (
        await gateway.post("/v1/turn", {"text": "x"}, authorization=f"Bearer {issued['token']}")
    ).status == 200
    for _ in range(2):
        await gateway.post("/v1/turn", {"text": "once"}, Idempotency_Key="k")
    await gateway.post("/v1/turn", {"text": "other"}, Idempotency_Key="k")
    await gateway.post("/v1/turn", {"text": "other"}, Idempotency_Key="k k")
    for name, arguments in (
        ("file.read", {"path": "a"}),
        ("file.read", {"none": "a"}),
        ("none", {}),
        ("shell.run", {"command": f"echo {gateway.state.operator}"}),
    ):
        answer = await gateway.post(f"/v1/tools/{name}/execute", {"arguments": arguments})
    waiting = answer.json
    decision = {"confirmation_id": waiting["confirmation_id"], "decision": "approve"}
    await gateway.post("/approve", decision)
    for _ in range(2):
        await gateway.post("/approve", {**decision, "args_sha256": waiting["args_sha256"]})
    await gateway.post("/approve", {**decision, "decision": "deny"})
    answer = await gateway.post("/v1/tools/shell.run/execute", {"arguments": {"command": "true"}})
    late = {"confirmation_id": answer.json["confirmation_id"], "decision": "deny"}
    await gateway.services.storage.do(
        lambda connection: connection.execute(
            "UPDATE confirmations SET expires_at_ms = 1 WHERE status = 'pending'"
        )
    )
    await gateway.post("/approve", late)
    await gateway.post("/v1/turn", {"text": "x", "session_id": "none"})
    for task in ("file.read", {"path": "a"}), ("shell.run", {"command": "true"}):
        await gateway.post("/tasks", {"kind": task[0], "payload": task[1]})
    services = gateway.services
    due = services.storage.read(lambda db: claims.due(db, services.clock.now_ms(), 9))
    for each in (*due, due[0]):
        await services.worker._work(each)
    await services.trace_writer.flush()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[State, Path, Manifest]:
    directory = tmp_path_factory.mktemp("incident")
    state = new_state(directory / "state")
    with inside(state) as gateway:
        asyncio.run(requests(gateway))
    bundle = directory / "bundle"
    return state, bundle, export(state.directory, Span(0, 2e15), "inc_1", 7, bundle)


def changed(bundle: Path, made: Path, name: str, which: Change, change: Change) -> Replay:
    """Replay a copy of a bundle in which one line of `name` was changed: the first that `which` finds."""
    made.mkdir()
    for each in bundle.iterdir():
        (made / each.name).write_bytes(each.read_bytes())
    lines = [json.loads(each) for each in (bundle / name).read_text().splitlines()]
    change(next(each for each in lines if which(each)))
    (made / name).write_text("".join(json.dumps(each) + "\n" for each in lines))
    return replay(read_bundle(made))


def test_every_request_is_decided_again_as_it_was(recorded: tuple[State, Path, Manifest]) -> None:
    _, bundle, manifest = recorded
    came = replay(read_bundle(bundle))
    assert came.diverging == came.changed == []
    assert came.as_recorded == {}
    assert came.requests == came.same == manifest.counts["requests"] > 30
    assert len(came.classes) > 15


def stage(name: str, route: str = "") -> Change:
    return lambda line: line["stage"] == name and bool(line["inputs"])


def confirming(reason: str = "") -> Change:
    """The stage in which a confirmation was decided on, if with this reason."""
    return lambda line: (
        line["reason"] == reason
        and any(
            "confirmation" in each["value"] for each in line["inputs"] if each["kind"] == "facts"
        )
    )


def of_task(decision: str) -> Change:
    """The stage in which it was decided whether a task begins."""
    return lambda line: line["request_id"].startswith("work_") and line["decision"] == decision


def put(kind: str, path: str, value: object, which: int = 0) -> Change:
    def change(line: dict[str, Any]) -> None:
        one = [each for each in line["inputs"] if each["kind"] == kind][which]
        *way, last = ["value", *path.split(".")] if path else ["value"]
        for each in way:
            one = one[each]
        one[last] = value

    return change


@pytest.mark.parametrize(
    ("name", "which", "change", "diverges_at"),
    [
        ("decisions.jsonl", stage("authenticate"), put("token", "revoked_at_ms", 1), "authenticate"),
        ("decisions.jsonl", stage("authenticate"), put("token", "expires_at_ms", 1), "authenticate"),
        ("decisions.jsonl", stage("authenticate"), put("token", "secret", None), "authenticate"),
        ("decisions.jsonl", stage("authenticate"), put("token", "actor.role", "none"), "authorize"),
        ("decisions.jsonl", stage("session"), put("facts", "session.expires_at_ms", 1), "session"),
        ("decisions.jsonl", stage("session"), put("facts", "now_ms", 2**53), "session"),
        ("decisions.jsonl", stage("memory"), put("breaker", "", "open"), "memory"),
        ("decisions.jsonl", stage("memory"), put("memory", "", []), "memory"),
        ("decisions.jsonl", stage("model"), put("off", "", True), "model"),
        ("decisions.jsonl", stage("policy"), put("facts", "decision", "deny"), "policy"),
        ("decisions.jsonl", confirming(), put("facts", "confirmation.expires_at_ms", 1), "policy"),
        ("decisions.jsonl", confirming(), put("facts", "confirmation.status", "denied"), "policy"),
        ("decisions.jsonl", confirming(), put("facts", "policy", "deny"), "policy"),
        ("decisions.jsonl", confirming(), put("facts", "task", {"task_id": "t", "status": "cancelled", "claim_epoch": 1}), "policy"),
        ("decisions.jsonl", confirming("already_decided"), put("facts", "confirmation.status", "pending"), "policy"),
        ("decisions.jsonl", of_task("allow"), put("facts", "stands.claim_epoch", 7), "policy"),
        ("decisions.jsonl", of_task("allow"), put("facts", "attempts", 3), "policy"),
        ("decisions.jsonl", of_task("allow"), put("facts", "stands.claim_epoch", 7, 1), "policy"),
        ("decisions.jsonl", of_task("allow"), put("facts", "revoked", True, 1), "policy"),
        ("decisions.jsonl", of_task("not_begun"), put("facts", "policy", "deny", 1), "policy"),
        ("decisions.jsonl", of_task("refused"), put("facts", "stands.claim_epoch", 0), "policy"),
        ("decisions.jsonl", stage("idempotency"), put("key", "", {"payload_sha256": "", "state": "done"}), "idempotency"),
        ("decisions.jsonl", stage("admit"), put("wait", "entry.in_flight", 16), "admit"),
        ("decisions.jsonl", stage("memory"), lambda line: line["inputs"].clear(), "memory"),
        (
            "requests.jsonl",
            lambda line: "tool" in line["envelope"],
            lambda line: line["envelope"]["tool"].update(tool="shell.run"),
            "outcome",
        ),
        (
            "requests.jsonl",
            lambda line: line["envelope"].get("credentials") == "token",
            lambda line: line["envelope"].update(credentials="malformed"),
            "authenticate",
        ),
        (
            "requests.jsonl",
            lambda line: line["role"] == "observer" and line["status"] == 200,
            lambda line: line["envelope"].update(requires="operator"),
            "authorize",
        ),
        ("requests.jsonl", lambda line: True, lambda line: line.update(trace_class="0"), None),
    ],
)  # fmt: skip
def test_an_input_beyond_a_boundary_is_decided_otherwise(
    recorded: tuple[State, Path, Manifest],
    tmp_path: Path,
    name: str,
    which: Change,
    change: Change,
    diverges_at: str | None,
) -> None:
    came = changed(recorded[1], tmp_path / "changed", name, which, change)
    (found,) = came.diverging
    assert came.changed == [name]
    sides = {each.stage for each in (found.recorded, found.replayed) if each is not None}
    assert (diverges_at in sides) if diverges_at else not sides


def _nothing(*_: object) -> None:
    """A rule that refuses nothing."""


def _claimed(found: claims.Found, _: int) -> claims.Claim:
    """A claim that asks for no epoch."""
    return claims.Claim(claim_of(found.due), found.now_ms)


@pytest.mark.parametrize(
    ("rule", "changed_to", "stage", "diverging"),
    [
        ("service.reliability.verdicts.begins_at_once", lambda entry: entry.waits, "admit", 7),
        ("service.domain.tasks.claims.judge_claim", _claimed, "policy", 1),
        ("service.domain.confirmations.records._raise_decided", _nothing, "policy", 2),
        (
            "service.domain.confirmations.records._in_time",
            confirmations._there,  # nobody asks how long it waited
            "policy",
            1,
        ),
    ],
)
def test_a_rule_that_was_changed_is_told_by_the_stage_that_it_decides(
    recorded: tuple[State, Path, Manifest],
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    changed_to: Callable[..., object],
    stage: str,
    diverging: int,
) -> None:
    monkeypatch.setattr(rule, changed_to)
    came = replay(read_bundle(recorded[1]))
    assert len(came.diverging) == diverging
    for each in came.diverging:
        assert each.recorded is not None and each.replayed is not None
        assert each.recorded.stage == each.replayed.stage == stage
        assert each.recorded != each.replayed


def test_what_an_older_bundle_has_no_inputs_of_is_taken_as_recorded_and_that_is_said() -> None:
    came = replay(read_bundle(OLDER))
    assert (came.diverging, came.changed, came.same) == ([], [], came.requests)
    assert came.as_recorded == {"admit": 2, "policy": 5}
    told = sonia(None, "replay", str(OLDER))
    assert (told.returncode, "5 times the stage policy was taken as recorded" in told.stdout) == (
        0,
        True,
    )


def test_it_needs_nothing_of_here_and_now(recorded: tuple[State, Path, Manifest]) -> None:
    _, bundle, manifest = recorded
    whole = sonia(None, "replay", str(bundle), "--json", PYTHONHASHSEED="7", TZ="Asia/Tokyo")
    assert json.loads(whole.stdout)["same"] == manifest.counts["requests"]
    assert (whole.returncode, whole.stderr) == (0, "")


def test_a_file_that_is_gone_or_another_is_told(
    recorded: tuple[State, Path, Manifest], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recorded[1], copy)
    (copy / "events.jsonl").unlink()
    (copy / "config.json").write_text("{}")
    told = sonia(None, "replay", str(copy))
    said = "this bundle is not as it was exported: config.json, events.jsonl\n"
    assert told.stdout.startswith(said)


def test_no_secret_leaves(recorded: tuple[State, Path, Manifest]) -> None:
    state, bundle, _ = recorded
    everything = b"".join(each.read_bytes() for each in bundle.iterdir())
    assert b"my token is [redacted]" in everything
    assert b"echo [redacted]" in everything
    for token in (state.operator, state.observer):
        assert token.split(".")[1].encode() not in everything
