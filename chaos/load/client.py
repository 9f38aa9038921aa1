"""The connections of a load: keep-alive, one request at a time each, always read to the end.

A request is sent once. When its connection ends without an answer it may have happened (`info`); when
no connection could be made it certainly did not (`error`). Nothing is ever sent again.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from chaos.evidence.schema import RequestOutcome
from chaos.http import AnswerReader, NotHttp, explain, json_headers, open_socket
from chaos.load.messages import Redactor
from chaos.load.plan import Plan

IDLE_S: Final = 2.0
"""An idle connection is not used again after this long: servers close theirs after a few seconds, and a
request that crosses such a close may or may not have happened."""

KNOWN_HEADS: Final = 256


class Outcome(Struct, frozen=True, gc=False):
    """What became of one request; `columns` are the JSON members that follow from the head alone."""

    seq: int
    outcome: RequestOutcome
    columns: bytes
    body: bytes | None
    done_s: float


class Head(Struct, frozen=True):
    """What a head that was seen before, byte by byte, says: the body's length and the columns."""

    length: int
    columns: bytes


Report = Callable[[Outcome], None]
