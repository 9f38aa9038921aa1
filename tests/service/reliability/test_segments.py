"""Segments: bounded in memory and on disk, and read whatever a crash has left."""

import asyncio
from pathlib import Path

import pytest

from service.incidents import segments
from service.incidents.segments import (
    Segments,
    TraceWriter,
    events_between,
    files_of,
    lines_of,
    traces_between,
)
from service.reliability.tracing import Trace, Traces
from service.settings import TraceSettings


def write(target: Segments, *lines: bytes) -> None:
    for line in lines:
        target.add(line)
    target.write(target.take())


def test_the_oldest_files_give_way_and_each_life_begins_one(tmp_path: Path) -> None:
    for life in range(3):
        target = Segments(tmp_path / "traces", 10, 3)
        for number in range(2):
            write(target, b'"%d.%d"' % (life, number), b'"and more"')
    names = [each.name for each in files_of(tmp_path / "traces")]
    assert names == ["00000003.jsonl", "00000004.jsonl", "00000005.jsonl"]
    assert list(lines_of(tmp_path / "traces", 0))[-2:] == [b'"2.1"\n', b'"and more"\n']


def test_small_writes_share_a_file(tmp_path: Path) -> None:
    target = Segments(tmp_path / "traces", 1000, 3)
    for number in range(5):
        write(target, b"%d" % number)
    write(target)
    assert [each.read_bytes() for each in files_of(tmp_path / "traces")] == [b"0\n1\n2\n3\n4\n"]


def test_what_does_not_fit_into_memory_is_lost_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_WAITING_BYTES", 10)
    target = Segments(tmp_path / "traces", 1000, 3)
    write(target, b"12345", b"6789", b"lost")
    write(target, b"again")
    assert target.lost == 1
    assert list(lines_of(tmp_path / "traces", 0)) == [b"12345\n", b"6789\n", b"again\n"]


def test_a_disk_that_fails_is_said_and_tried_again(tmp_path: Path) -> None:
    target = Segments(tmp_path / "there" / "traces", 1000, 3)
    with pytest.raises(OSError, match="No such file"):
        write(target, b"lost")
    (tmp_path / "there").mkdir()
    write(target, b"again")
    assert target.lost == 1
    assert list(lines_of(tmp_path / "there" / "traces", 0)) == [b"again\n"]


def finished(traces: Traces, status: int = 200) -> Trace:
    trace = traces.begin("req_1", "http", "GET", "/x")
    trace.status = status
    trace.envelope["requires"] = "observer"
    with trace.stage("session") as stage:
        trace.take("now_ms", lambda: 7, int)
        stage.decide("open")
    traces.finish(trace)
    return trace


def test_traces_and_events_come_back_and_a_broken_end_is_left_out(tmp_path: Path) -> None:
    now_s = [1.0]
    traces = Traces(lambda: now_s[0])
    writer = TraceWriter(tmp_path / "traces", tmp_path / "events", TraceSettings())
    traces.on_finished(writer.finished)
    traces.on_event(writer.happened)
    finished(traces)
    traces.event("breaker", "memory", {"state": "open"})
    now_s[0] = 2.0
    trace = finished(traces, 404)
    asyncio.run(writer.flush())
    (written,) = files_of(tmp_path / "traces")
    whole = written.read_bytes()
    written.write_bytes(whole + b'{"torn": ')
    (tmp_path / "traces" / "00000009.jsonl").write_bytes(b"no json\n" + whole[:30])

    (line,) = traces_between(tmp_path / "traces", 1500, 3000)
    assert (line.request_id, line.route, line.outcome, line.status) == (
        "req_1",
        "/x",
        "rejected",
        404,
    )
    assert [(each.name, each.decision) for each in line.decisions] == [
        ("session", "open"),
        ("outcome", "rejected"),
    ]
    assert line.decisions[0].inputs[0].value == 7
    assert line.took_us == trace.took_us
    assert len(list(traces_between(tmp_path / "traces", 0, 3000))) == 2
    (event,) = events_between(tmp_path / "events", 0, 3000)
    assert (event.at_ms, event.event, event.name, event.detail) == (
        1000.0,
        "breaker",
        "memory",
        {"state": "open"},
    )


def test_of_a_long_request_is_kept_what_was_decided(tmp_path: Path) -> None:
    traces = Traces()
    writer = TraceWriter(tmp_path / "traces", tmp_path / "events", TraceSettings())
    trace = traces.begin("req_1", "http")
    trace.envelope["turn"] = "x" * segments.MOST_LINE_BYTES
    traces.finish(trace)
    writer.finished(trace)
    asyncio.run(writer.flush())
    (line,) = traces_between(tmp_path / "traces", 0, float("inf"))
    assert set(line.envelope) == {"omitted_bytes"}
    assert [each.name for each in line.decisions] == ["outcome"]
