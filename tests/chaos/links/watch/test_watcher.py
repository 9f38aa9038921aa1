"""Setting connections off against accepted clients: no alarm without cause, none left out."""

import dataclasses
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.links.watch.matching import Matching
from chaos.links.watch.table import (
    Client,
    Look,
    Piece,
    ip_of,
    is_here,
    parse_table,
)
from chaos.links.watch.watcher import client_of

PORT = 8080
OPEN = Look(7, alive=True)
GONE = Look(until_s=61.0, at_most_s=61.1)

little = pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of such a machine")

TABLE = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 47127 1 0 100 0 0 10 0
   1: 0100007F:848A 0100007F:1F90 06 00000000:00000000 03:0000176F 00000000     0        0 0 3 0
   2: 0100007F:1F90 0100007F:8490 06 00000000:00000000 03:0000176F 00000000     0        0 0 3 0
   3: 0100007F:8491 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0 20 4 30 10 -1
   4: 0100007F:1F90 0100007F:8491 01 00000000:00000000 00:00000000 00000000     0        0 98 1 0 20 4 30 10 -1
   5: 0100007F:8492 0100007F:1F90 02 00000000:00000000 00:00000000 00000000     0        0 97 1 0 20 4 30 10 -1
   6: 0100007F:8493 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 96 1 0 20 4 30 10 -1
   7: 0100007F:8494 08080808:1F90 01 00000000:00000000 00:00000000 00000000     0        0 95 1 0 20 4 30 10 -1
   8: 0100007F:1F90 0200007F:8495 08 00000000:00000000 00:00000000 00000000     0        0 94 1 0 20 4 30 10 -1
   9: torn 1F90 :1F90 """

TABLE_6 = b"""\
   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 20 4 30 10 -1
   1: 00000000000000000000000001000000:9001 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000     0        0 6 1 0 20 4 30 10 -1
"""


@little
def test_table_shows_connections_to_the_watched_port_from_both_ends() -> None:
    assert parse_table(Piece(TABLE, 100.0, 100.1), frozenset({PORT})) == {
        Client("127.0.0.1", 0x848A, PORT): Look(until_s=159.99, at_most_s=160.09),
        Client("127.0.0.1", 0x8490, PORT): Look(until_s=159.99, at_most_s=160.09),
        Client("127.0.0.1", 0x8491, PORT): Look(99, alive=True),
        Client("127.0.0.2", 0x8495, PORT): Look(),
    }
    assert parse_table(Piece(TABLE, 100.0, 100.1), frozenset()) == {}
    assert parse_table(Piece(b"", 0.0, 0.0), frozenset({PORT})) == {}


@little
def test_table_of_ipv6_shows_mapped_and_real_addresses() -> None:
    assert parse_table(Piece(TABLE_6, 0.0, 0.0), frozenset({PORT})) == {
        Client("127.0.0.1", 0x9000, PORT): Look(0, alive=True),
        Client("::1", 0x9001, PORT): Look(6, alive=True),
    }


@little
def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    assert ip_of(b"0300007F") == "127.0.0.3"
    assert ip_of(b"00000000000000000000000001000000") == "::1"
    assert ip_of(b"B80D0120000000000000000001000000") == "2001:db8::1"


def test_only_connections_within_this_host_count() -> None:
    assert is_here("127.0.0.1", "127.0.0.9")
    assert is_here("::1", "::1")
    assert is_here("10.0.0.5", "10.0.0.5")
    assert not is_here("10.0.0.5", "10.0.0.6")


def test_clients_are_read_from_the_log() -> None:
    accepted = b'{"level":"info","name":"a->b","client":"127.0.0.1:5","message":"Accepted client"}'
    refused = accepted.replace(b"Accepted client", b"Unable to open connection to upstream")
    assert client_of(accepted) == ("a->b", "127.0.0.1:5", True)
    assert client_of(refused) == ("a->b", "127.0.0.1:5", False)
    assert client_of(accepted.replace(b"Accepted client", b"Started proxy")) is None
    assert client_of(b'"Accepted client" torn') is None
    assert client_of(b"") is None


def gone(until_s: float, blur_s: float = 0.1) -> Look:
    """A connection that has closed and is remembered until then."""
    return Look(until_s=until_s, at_most_s=until_s + blur_s)


def client(number: int) -> Client:
    return Client("127.0.0.1", number, PORT)


def test_every_connection_needs_an_accepted_client_of_its_own() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.look({client(1): GONE, client(2): GONE}, 1.0)
    assert matching.settle(1.5) == []
    assert len(matching.settle(2.1)) == 1
    assert matching.settle(9.0) == []


def test_client_that_was_not_dialled_covers_nothing() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.not_dialled(PORT, "a")
    matching.not_dialled(PORT, "a")
    matching.look({client(1): GONE}, 1.0)
    assert matching.settle(3.0) == [client(1)]


def test_who_was_not_dialled_is_known_by_name() -> None:
    matching = Matching()
    matching.look({}, 1.0)
    matching.accepted(PORT, "refused", 1.0)
    matching.look({}, 3.0)
    matching.accepted(PORT, "dialled", 3.0)
    matching.not_dialled(PORT, "refused")
    matching.look({client(1): gone(64.5)}, 4.5)
    assert matching.settle(6.0) == []


def test_the_kernel_is_late_to_forget_a_connection() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    looks = [(1.5, 6000), (61.0, 50), (62.5, 0), (63.2, 0)]
    for now_s, left in looks:
        line = TABLE.splitlines(keepends=True)[2].replace(b"0000176F", b"%08X" % left)
        matching.look(parse_table(Piece(line, now_s, now_s), frozenset({PORT})), now_s)
        assert matching.settle(now_s + 1.0) == []
    # Another one that had the same addresses is told by its later end.
    matching.look({client(0x848A): gone(124.0)}, 64.0)
    assert matching.settle(66.0) == [client(0x848A)]


def test_client_without_a_connection_covers_nothing_later() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.look({}, 2.4)
    matching.look({client(1): GONE}, 2.5)
    assert matching.settle(4.0) == [client(1)]


def test_looks_that_lie_far_apart_are_no_proof_of_a_bypass() -> None:
    matching = Matching()
    matching.look({}, 1.0)
    matching.accepted(PORT, "a", 1.0)
    matching.look({client(1): GONE}, 3.5)
    assert matching.settle(5.0) == []


def test_client_that_comes_later_covers_nothing_before() -> None:
    matching = Matching()
    matching.look({client(1): GONE}, 1.0)
    matching.accepted(PORT, "a", 1.1)
    assert matching.settle(2.5) == [client(1)]


def test_long_lived_connection_takes_its_client_along() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.look({client(1): OPEN, client(2): GONE}, 1.0)
    assert matching.unowned() == {client(1): 7, client(2): 0}
    matching.is_proxied(client(1))
    assert matching.settle(2.5) == [client(2)]


def test_connection_of_somebody_known_is_not_counted_again() -> None:
    matching = Matching()
    matching.look({client(1): OPEN}, 1.0)
    matching.is_other(client(1))
    assert matching.settle(9.0) == []


def test_same_connection_seen_again_counts_once() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    stages = [OPEN, None, Look(0, alive=True), Look(), gone(61.2), None, gone(61.2), gone(61.3)]
    for turn, seen in enumerate(stages):
        matching.look({client(1): seen} if seen else {}, 1.0 + turn * 0.05)
    assert matching.settle(9.0) == []


@pytest.mark.parametrize("before", [OPEN, GONE])
@pytest.mark.parametrize("again", [Look(8, alive=True), gone(64.0)])
def test_port_that_is_used_again_is_another_connection(before: Look, again: Look) -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.look({client(1): before}, 1.0)
    assert matching.settle(2.5) == []
    matching.look({client(1): gone(61.0)}, 2.5)
    matching.look({client(1): again}, 4.0)
    assert matching.settle(5.5) == [client(1)]


def test_remembrance_that_ends_a_little_later_is_the_same_connection() -> None:
    """A FIN that is sent again begins it anew, and a slow look blurs it."""
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.look({client(1): gone(61.0)}, 1.0)
    matching.look({client(1): gone(61.3, blur_s=1.0)}, 1.2)
    matching.look({client(1): gone(62.3)}, 2.4)
    assert matching.settle(9.0) == []


def test_connection_that_looks_missed_for_long_is_not_forgotten() -> None:
    matching = Matching()
    matching.accepted(PORT, "a", 1.0)
    matching.look({client(1): GONE}, 1.0)
    matching.look({}, 8.0)
    matching.look({client(1): GONE}, 15.0)
    assert matching.settle(20.0) == []


def test_what_was_there_before_the_first_look_is_only_attributed() -> None:
    matching = Matching()
    matching.look({client(1): GONE, client(2): OPEN}, 1.0, first=True)
    assert matching.unowned() == {client(2): 7}
    matching.forgive()
    assert matching.settle(9.0) == []


@dataclasses.dataclass(frozen=True)
class Life:
    """One connection: through the proxy or past it, when it began, how late it was dialled, how it went."""

    proxied: bool
    began: int
    dial_delay: int
    alive: int
    seen_alive: bool
    reset: bool


lives = st.builds(
    Life,
    proxied=st.booleans(),
    began=st.integers(0, 200),
    dial_delay=st.integers(0, 4),
    alive=st.integers(0, 60),
    seen_alive=st.booleans(),
    reset=st.booleans(),
)


def play(story: list[Life], seed: int) -> int:
    """What a matching makes of a story; a look every 40 ms, one look in ten misses a connection."""
    chance, matching, reported = random.Random(seed), Matching(), 0
    for turn in range(320):
        now_s, looks = turn * 0.04, {}
        for number, life in enumerate(story):
            dialled = life.began + (life.dial_delay if life.proxied else 0)
            if life.proxied and life.began == turn:
                matching.accepted(PORT, "a", now_s)
            is_alive = dialled <= turn < dialled + life.alive
            is_gone = turn >= dialled + life.alive and not (life.reset and life.proxied)
            if (is_alive or is_gone) and (turn == dialled or chance.random() > 0.1):
                inode = number + 1 if is_alive and life.seen_alive else 0
                ended_s = 0.04 * (dialled + life.alive)
                looks[client(number)] = Look(inode, True) if is_alive else gone(60.0 + ended_s)
        matching.look(looks, now_s)
        for one, inode in matching.unowned().items():
            if inode and story[inode - 1].proxied:
                matching.is_proxied(one)
            elif inode:
                matching.is_other(one)
                reported += 1
        reported += len(matching.settle(now_s, all_of_them=turn == 319))
    return reported


@settings(max_examples=150)
@given(story=st.lists(lives, max_size=25), seed=st.integers(0, 1000))
def test_traffic_through_the_proxy_never_raises_an_alarm(story: list[Life], seed: int) -> None:
    through = [dataclasses.replace(life, proxied=True) for life in story]
    assert play(through, seed) == 0


@settings(max_examples=150)
@given(story=st.lists(lives, max_size=25), seed=st.integers(0, 1000))
def test_every_connection_past_the_proxy_is_counted_once(story: list[Life], seed: int) -> None:
    # A proxied connection that is reset before it is seen leaves its client to others for a second.
    kept = [dataclasses.replace(life, reset=False) for life in story]
    assert play(kept, seed) == sum(not life.proxied for life in kept)
