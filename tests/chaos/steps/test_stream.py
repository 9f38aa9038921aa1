"""WebSockets: every frame in both directions, refusals and closes."""

import itertools
from pathlib import Path

from tests.builders.gate_runs import run_steps


def test_what_is_sent_and_received_is_recorded(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {write: "{state}/audio", text: abc}
          - stream: talk
            open: /any
            to: streams
            as: {bearer: good-token, label: friend}
            subprotocols: [trivial.v1, trivial.v2]
            linger: 5s
            send:
              - {json: {word: "{greeting}"}}
              - {text: "{greeting}", times: 2}
              - {hex: "00ff"}
              - {file: "{state}/audio"}
              - {text: bye}
            meanwhile: [{pause: 1ms}]
            expect: {status: 101, close: 4401, json: hello}
        """,
        needs=["streams"],
    )
    assert evidence.details() == []
    frames = evidence.rows("frames")
    out = [(row["kind"], row["size"], row["json"]) for row in frames if row["direction"] == "out"]
    assert out == [
        ("open", 0, None),
        ("text", 16, {"word": "hello"}),
        ("text", 5, "hello"),
        ("text", 5, "hello"),
        ("binary", 2, None),
        ("binary", 3, None),
        ("text", 3, "bye"),
    ]
    seen = [
        (row["kind"], row["size"], row["json"], row["code"])
        for row in frames
        if row["direction"] == "in"
    ]
    assert seen == [
        ("text", 29, {"subprotocol": "trivial.v2"}, None),
        ("text", 16, {"word": "hello"}, None),
        ("text", 5, "hello", None),
        ("text", 5, "hello", None),
        ("binary", 2, None, None),
        ("binary", 3, None, None),
        ("close", 0, "token expired", 4401),
    ]
    assert {(row["stream"], row["actor"]) for row in frames} == {("talk", "friend")}
    (answer,) = [row["headers"] for row in frames if row["headers"] is not None]
    assert isinstance(answer, dict)
    assert answer["sec-websocket-protocol"] == "trivial.v2"
    assert evidence.rows("steps")[-1]["iterations"] == 1


def test_frames_that_were_waited_for_end_the_waiting(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - stream: talk
            open: /any
            to: streams
            as: {bearer: good-token, label: friend}
            linger: 60s
            until: 4
            send: [{text: hello, times: 2}, {hex: "00ff"}]
            expect: {status: 101, json: hello}
        """,
        needs=["streams"],
    )
    assert evidence.details() == []
    kinds = [row["kind"] for row in evidence.rows("frames") if row["direction"] == "in"]
    assert kinds == ["text", "text", "text", "binary"]
    step = evidence.rows("steps")[-1]
    assert float(str(step["ended_ms"])) - float(str(step["began_ms"])) < 30_000


def test_a_refusal_a_loss_and_nobody_there(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - stream: refused
            open: /any
            to: streams
            as: nobody
            meanwhile: [{repeat: 2, steps: [{pause: 1ms}]}]
            expect: {status: 401}
          - stream: lost
            open: /any
            to: streams
            as: {bearer: good-token, label: friend}
            linger: 5s
            meanwhile: [{kill: streams}]
            expect: {status: 101, close: 1000}
          - stream: nobody
            open: /any
            to: streams
            expect: {status: 101}
          - {start: streams}
          - stream: deaf
            open: /any
            to: streams
            as: {bearer: good-token, label: friend}
            read: false
            send: [{text: hello}]
            expect: {status: 101}
        """,
        needs=["streams"],
    )
    outcomes = evidence.outcomes()
    assert outcomes[:3] == [
        ("scenario.0.meanwhile.0", "skipped"),
        ("scenario.0.meanwhile.0.steps.0", "skipped"),
        ("scenario.0", "ok"),
    ]
    assert [outcome for _, outcome in outcomes[3:]] == ["ok", "failed", "failed", "ok", "ok"]
    frames = [
        (row["stream"], row["direction"], row["kind"], row["code"])
        for row in evidence.rows("frames")
    ]
    assert ("refused", "in", "refused", 401) in frames
    assert ("lost", "in", "lost", None) in frames
    assert ("nobody", "in", "lost", None) in frames
    assert [frame for frame in frames if frame[0] == "deaf"] == [
        ("deaf", "out", "open", None),
        ("deaf", "out", "text", None),
    ]


def test_frames_are_spread_by_a_rate(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - stream: spread
            open: /any
            to: streams
            as: {bearer: good-token, label: friend}
            rate: 50/s
            send: [{text: hello, times: 4}]
        """,
        needs=["streams"],
    )
    sent = [
        float(str(row["frame_ms"]))
        for row in evidence.rows("frames")
        if row["kind"] == "text" and row["direction"] == "out"
    ]
    assert all(after - before >= 19 for before, after in itertools.pairwise(sent))
    assert evidence.written().count(b"good-token") == 0


def test_a_redirected_handshake_is_refused_and_followed_nowhere(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - stream: away
            open: /away
            to: streams
            as: {bearer: good-token, label: friend}
            linger: 1s
            meanwhile: [{pause: 1ms}]
            expect: {status: 302}
          - {stream: untrue, open: /untrue, to: streams, expect: {status: 101}}
        """,
        needs=["streams"],
    )
    (why, untrue) = evidence.details()
    assert str(why).startswith("the stream away was refused with 302: ")
    assert untrue == "status: expected 101, got null"
    (frame, other) = evidence.rows("frames")
    assert (other["kind"], other["code"]) == ("refused", 101)
    assert "Sec-WebSocket-Accept" in str(other["json"])
    assert (frame["kind"], frame["code"], frame["json"]) == ("refused", 302, "over there\n")
    assert isinstance(frame["headers"], dict)
    assert frame["headers"]["location"] == "/any"


def test_server_sent_events_are_frames(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - {stream: whole, open: /events/whole, events: true, as: user, linger: 60s, expect: {status: 200, json: "a\\nb"}}
          - {stream: lost, open: /events/lost, events: true, linger: 60s}
          - stream: endless
            open: /events/endless
            events: true
            linger: 60s
            until: 2
            meanwhile: [{pause: 1ms}]
          - {stream: deaf, open: /events/endless, events: true, read: false}
          - {stream: refused, open: /status/404, events: true, expect: {status: 404}}
          - {stream: silent, open: /silence, events: true, expect: {status: 200}}
        """,
    )
    frames = evidence.rows("frames")
    told: dict[object, list[tuple[object, ...]]] = {}
    for row in frames:
        columns = ("direction", "kind", "size", "json", "event", "event_id")
        told.setdefault(row["stream"], []).append(tuple(row[name] for name in columns))
    opened = ("out", "open", 0, None, None, None)
    events = [
        ("in", "comment", 5, "hello", None, None),
        ("in", "event", 8, {"n": 1}, "message", None),
        ("in", "event", 3, "a\nb", "tick", "7"),
    ]
    why = "the connection was closed, and nothing had said that the stream ends"
    assert told["whole"] == [opened, *events, ("in", "close", 0, None, None, None)]
    assert told["lost"] == [opened, *events, ("in", "lost", 0, why, None, None)]
    assert told["endless"] == [opened, *events]
    assert told["deaf"] == [opened]
    (refused,) = [row for row in frames if row["stream"] == "refused"]
    assert (refused["kind"], refused["code"], refused["json"]) == (
        "refused",
        404,
        {"status": "404"},
    )
    assert told["silent"] == [
        (
            "in",
            "lost",
            0,
            "the connection was closed, and nothing had said that the stream ends",
            None,
            None,
        )
    ]
    assert evidence.details() == ["status: expected 200, got null"]
    (first, *_) = [row["headers"] for row in frames if row["stream"] == "whole"]
    assert isinstance(first, dict)
    assert first["content-type"] == "text/event-stream; charset=utf-8"


def test_a_late_reader_reads_after_all_was_sent_and_long_copies_are_recorded_by_size(
    tmp_path: Path,
) -> None:
    long = 5000 * "x"
    evidence = run_steps(
        tmp_path,
        f"""
        scenario:
          - stream: talk
            open: /any
            to: streams
            as: {{bearer: good-token, label: friend}}
            late: true
            linger: 5s
            send: [{{text: {long}, times: 2}}, {{text: bye}}]
            expect: {{status: 101, close: 4401}}
        """,
        needs=["streams"],
    )
    assert evidence.details() == []
    frames = [row for row in evidence.rows("frames") if row["kind"] == "text"]
    directions = [row["direction"] for row in frames]
    assert directions == sorted(directions, reverse=True)
    sent = [(row["size"], row["json"]) for row in frames if row["direction"] == "out"]
    assert sent == [(5000, long), (5000, None), (3, "bye")]
