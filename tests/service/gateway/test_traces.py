"""Every request leaves a trace on disk, from who calls to what came of it."""

import asyncio
from pathlib import Path

from service.incidents.records import TraceLine
from service.incidents.segments import traces_between
from service.reliability.tracing import STAGES
from tests.service.gateway.inprocess import Inside, ask, inside
from tests.service.running import new_state


def stages(line: TraceLine) -> list[tuple[str, str, str]]:
    return [(each.name, each.decision, each.reason) for each in line.decisions]


def test_requests_are_traced_from_authentication_to_outcome(tmp_path: Path) -> None:
    async def requests(gateway: Inside) -> None:
        assert (await ask(gateway.app, "GET", "/healthz", {}, b"")).status == 200
        assert (await ask(gateway.app, "GET", "/tasks", {}, b"")).status == 401
        observer = {"authorization": f"Bearer {gateway.state.observer}"}
        assert (await ask(gateway.app, "POST", "/v1/turn", observer, b"")).status == 403
        assert (await gateway.post("/v1/turn", {"text": 7})).status == 400
        answered = await gateway.post("/v1/turn", {"text": "hello"})
        assert answered.json["degraded_reasons"] == ["memory_unavailable", "model_unavailable"]
        over = await gateway.post("/v1/turn", {"text": "hello", "session_id": "none"})
        assert over.status == 404
        await gateway.services.trace_writer.flush()

    state = new_state(tmp_path / "state")
    with inside(state) as gateway:
        asyncio.run(requests(gateway))
    lines = list(traces_between(state.directory.traces, 0, float("inf")))

    admitted = ("authenticate", "admitted", "")
    operator = [admitted, ("authorize", "admitted", "")]
    assert [(each.route, stages(each)) for each in lines] == [
        ("/healthz", [("authenticate", "public", ""), ("outcome", "completed", "")]),
        ("/tasks", [("authenticate", "refused", "no_credentials"), ("outcome", "rejected", "unauthorized")]),
        ("/v1/turn", [admitted, ("authorize", "refused", "insufficient_scope"), ("outcome", "rejected", "insufficient_scope")]),
        ("/v1/turn", [*operator, ("outcome", "rejected", "invalid_request")]),
        (
            "/v1/turn",
            [
                *operator,
                ("admit", "admitted", ""),
                ("memory", "unavailable", "no_answer"),
                ("model", "unavailable", "no_answer"),
                ("commit", "committed", ""),
                ("outcome", "completed", ""),
            ],
        ),
        ("/v1/turn", [*operator, ("admit", "admitted", ""), ("session", "refused", "not_found"), ("outcome", "rejected", "not_found")]),
    ]  # fmt: skip
    assert {each.name for line in lines for each in line.decisions} <= set(STAGES)
    assert len({each.request_id for each in lines}) == len(lines)
    token_id = state.operator.split(".")[0]
    assert (lines[4].actor_id, lines[4].role, lines[4].status) == (token_id, "operator", 200)
    written = b"".join(each.read_bytes() for each in state.directory.traces.iterdir())
    for token in (state.operator, state.observer):
        assert token.split(".")[1].encode() not in written
