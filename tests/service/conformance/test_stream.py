"""Frames of a stream: each answer, word by word."""

import json

from syrupy.assertion import SnapshotAssertion
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.service.conformance.conversation import Conversation

FRAMES: tuple[object, ...] = (
    {"type": "ping", "id": "7"},
    {"type": "ping"},
    "{",
    {"type": "pang"},
    {"type": "turn", "text": "", "id": "8"},
    {"type": "turn", "text": "hello", "session_id": "ses_none", "id": "9"},
    {"type": "turn", "text": "hello", "id": "10"},
    {"type": "turn", "text": "t" * 32_769, "id": "11"},
)


def test_frames(talk: Conversation, snapshot: SnapshotAssertion) -> None:
    offered = ["sonia.v1", f"sonia.bearer.{talk.state.operator}"]
    url = f"ws://127.0.0.1:{talk.ports['gateway']}/v1/stream"
    with connect(url, subprotocols=list(map(Subprotocol, offered)), proxy=None) as socket:
        said = [str(socket.subprotocol), socket.recv()]
        for frame in FRAMES:
            socket.send(frame if isinstance(frame, str) else json.dumps(frame))
            said.append(socket.recv())
    told = [talk.normal.value(json.loads(each)) if each[:1] == "{" else each for each in said]
    talk.stored("SELECT text, answer, degraded, session_id FROM turns ORDER BY seq")
    assert [*told, talk.said] == snapshot
