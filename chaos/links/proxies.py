"""One Toxiproxy server per started stack, behind the only module that knows its client library.

    HarnessError
    └── ToxiproxyError            what was asked of the server did not happen; the message says what to do
        ├── ToxiproxyPortError    a port that was to be listened on belongs to somebody else
        ├── ToxicMismatchError    the toxic that is in force is not the one that was asked for
        └── ToxiproxyGoneError    the server has died, or hung and was killed: nothing more can be asked of it

Every control call has a time-out. A server that does not answer in time (stopped, or hung in the removal of
a toxic by a client that stopped reading: Toxiproxy issue 558) would hang all later calls too: it is killed.
"""

import asyncio
import contextlib
import re
import secrets
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, Self, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.engine.procfs import sample
from chaos.errors import UNREADABLE, HarnessError
from chaos.guard import end_process, send_signal
from chaos.links.probe.child import Spawn

HOST: Final = "127.0.0.1"
CONNECT_WITHIN_S: Final = 1.0
ANSWER_WITHIN_S: Final = 3.0
START_WITHIN_S: Final = 10.0
STOP_WITHIN_S: Final = 1.0
_DEATH_SEEN_WITHIN_S: Final = 0.2
_MAX_LOG_TAIL_BYTES: Final = 2000

_TRAFFIC = re.compile(
    r"^toxiproxy_proxy_(received|sent)_bytes_total\{([^}]*)\} (\S+)$", re.MULTILINE
)

T = TypeVar("T")


class ToxiproxyError(HarnessError):
    """What was asked of the Toxiproxy server did not happen."""


class ToxiproxyPortError(ToxiproxyError):
    """A port is taken by somebody else."""


class ToxicMismatchError(ToxiproxyError):
    """The toxic in force is not the one that was asked for."""


class ToxiproxyGoneError(ToxiproxyError):
    """The server has died, or it hung and was killed."""


class _RefusedError(Exception):
    """The server's own words for why it does not do what it was asked."""


class Toxic(Struct, frozen=True, kw_only=True):
    """One toxic as Toxiproxy understands it; attributes in its own names and units."""

    name: str
    type: str
    stream: Literal["upstream", "downstream"]
    attributes: Mapping[str, int]


class Traffic(Struct, frozen=True):
    """Bytes of a link whose connections have closed: sent by its clients, and received by them."""

    sent_bytes: int
    received_bytes: int

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.sent_bytes + self.received_bytes


class _ToxicState(Struct, frozen=True):
    name: str
    type: str
    stream: str
    toxicity: float
    attributes: dict[str, float]


class _ProxyState(Struct, frozen=True):
    name: str
    listen: str
    upstream: str
    enabled: bool


class _Version(Struct, frozen=True):
    version: str


def _consumer(port: int) -> Callable[[str, str, Mapping[str, object]], object]:
    """What asks the server on `port`, by method, path and options; raises _RefusedError, and OSError without an answer.

    The client library takes longer to import than the rest of the harness takes to read its specs.
    """
    from toxiproxy.api import APIConsumer  # noqa: PLC0415 - not before there is a server
    from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists  # noqa: PLC0415

    # The library keeps host and port on the class: a class of its own for every server.
    api = type("Consumer", (APIConsumer,), {"host": HOST, "port": port})

    def ask(method: str, path: str, options: Mapping[str, object]) -> object:
        try:
            return getattr(api, method)(path, **options)
        except (NotFound, ProxyExists, InvalidToxic) as error:
            raise _RefusedError(_message(error.args[0])) from error

    return ask


class ToxiproxyServer:
    """A running server. `problem` says why it can no longer be used, once it cannot."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, log: Path, answer_within_s: float
    ) -> None:
        self.port = port
        self.log = log
        self.problem: str | None = None
        self._process = process
        self._within_s = answer_within_s
        self._api = _consumer(port)
        self._cuts: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._watch = asyncio.create_task(self._notice_end())

    @classmethod
    async def start(
        cls,
        binary: Path,
        *,
        port: int,
        log: Path,
        spawn: Spawn,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> Self:
        """Start a server whose API listens on `port` and wait until it answers.

        Its log goes to `log`. Raises ToxiproxyPortError when another server has the port, and
        ToxiproxyError when it does not come up.
        """
        # `env` sets the level whatever the caller's environment says: clients are counted from the log.
        argv = [
            "env",
            "LOG_LEVEL=info",
            str(binary),
            "-host",
            HOST,
            "-port",
            str(port),
            "-proxy-metrics",
        ]
        with log.open("ab") as output:
            process = await spawn(argv, stdout=output, stderr=output)
        server = cls(process, port, log, answer_within_s)
        try:
            async with asyncio.timeout(START_WITHIN_S):
                await server._await_answer()
                await server._recognise()
        except TimeoutError as error:
            await server.stop()
            raise ToxiproxyError(
                f"Toxiproxy did not answer within {START_WITHIN_S:g} s of its start: {server._last_words()}"
            ) from error
        except BaseException:
            await server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    async def stop(self) -> None:
        """End the server; whatever is still faulted goes with it."""
        self.problem = self.problem or "Toxiproxy was stopped"
        await end_process(self._process, STOP_WITHIN_S)
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)

    async def add(self, link: str, upstream: tuple[str, int], listen_port: int) -> None:
        """Listen on `listen_port` and pass connections of `link` on to `upstream`."""
        listen, to = f"{HOST}:{listen_port}", f"{upstream[0]}:{upstream[1]}"
        asked = {"name": link, "listen": listen, "upstream": to, "enabled": True}
        state = await self._post("/proxies", asked, _ProxyState, f"make the proxy of {link}")
        if (state.listen, state.upstream, state.enabled) != (listen, to, True):
            raise ToxiproxyError(f"the proxy of {link} is not what was asked for: {state}")

    async def cut(self, link: str) -> None:
        """Refuse new connections and end established ones. Cuts nest: each needs its own `restore`."""
        self._cuts[link] = self._cuts.get(link, 0) + 1
        await self._enable(link, enabled=False)

    async def restore(self, link: str) -> None:
        """Take one cut back; connections are accepted again after the last."""
        self._cuts[link] = max(0, self._cuts.get(link, 0) - 1)
        if self._cuts[link] == 0:
            await self._enable(link, enabled=True)

    async def add_toxic(self, link: str, toxic: Toxic) -> None:
        """Put a toxic on all connections of a link, and read it back."""
        asked = {
            "name": toxic.name,
            "type": toxic.type,
            "stream": toxic.stream,
            "toxicity": 1.0,
            "attributes": dict(toxic.attributes),
        }
        what = f"add {toxic.type} to {link}"
        await self._post(f"{_proxy(link)}/toxics", asked, _ToxicState, what)
        found = await self._get(
            _toxic(link, toxic.name), _ToxicState, f"read {toxic.type} of {link} back"
        )
        difference = mismatch(toxic, found)
        if difference is not None:
            await self.remove_toxic(link, toxic.name)
            raise ToxicMismatchError(
                f"{toxic.type} on {link} is not what was asked for: {difference}"
            )

    async def remove_toxic(self, link: str, name: str) -> None:
        """Take a toxic off again, and see that it is gone."""
        what = f"remove {name} from {link}"
        await self._ask("delete", _toxic(link, name), what)
        left = await self._get(
            f"{_proxy(link)}/toxics", list[_ToxicState], f"list the toxics of {link}"
        )
        if any(toxic.name == name for toxic in left):
            raise ToxiproxyError(f"{name} is still on {link} after it was removed")

    async def traffic(self) -> dict[str, Traffic]:
        """Bytes per link. Toxiproxy adds a connection's bytes when the connection closes, not before."""
        text = (await self._ask("get", "/metrics", "read the metrics")).decode(errors="replace")
        return traffic_from(text)

    async def _enable(self, link: str, *, enabled: bool) -> None:
        what = f"{'restore' if enabled else 'cut'} {link}"
        await self._post(_proxy(link), {"enabled": enabled}, _ProxyState, what)
        state = await self._get(_proxy(link), _ProxyState, f"read {link} back")
        if state.enabled != enabled:
            raise ToxicMismatchError(f"could not {what}: the proxy says enabled = {state.enabled}")

    async def _post(self, path: str, body: dict[str, object], shape: type[T], what: str) -> T:
        return _decoded(await self._ask("post", path, what, body), shape, what)

    async def _get(self, path: str, shape: type[T], what: str) -> T:
        return _decoded(await self._ask("get", path, what), shape, what)

    async def _ask(
        self, method: str, path: str, what: str, body: dict[str, object] | None = None
    ) -> bytes:
        """One control call, after those that were asked for before.

        It is carried out to its end even when whoever asked is cancelled: what follows, like the removal of
        a toxic that was being added, must find it done.
        """
        call = asyncio.create_task(self._ask_in_turn(method, path, what, body))
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(call)

    async def _ask_in_turn(
        self, method: str, path: str, what: str, body: dict[str, object] | None
    ) -> bytes:
        async with self._turn:
            return await self._ask_now(method, path, what, body)

    async def _ask_now(
        self, method: str, path: str, what: str, body: dict[str, object] | None
    ) -> bytes:
        """Whoever does not answer is killed, and everybody is told."""
        if self.problem is not None:
            raise ToxiproxyGoneError(f"cannot {what}: {self.problem}")
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S + self._within_s):
                status, content = await self._call(method, path, body)
        except _RefusedError as error:
            raise ToxiproxyError(f"cannot {what}: {error}") from error
        except OSError as error:
            await self._give_up(what)
            raise ToxiproxyGoneError(f"cannot {what}: {self.problem}") from error
        if status >= 400:
            text = _message(content)
            if "address already in use" in text:
                raise ToxiproxyPortError(
                    f"cannot {what}: {text}; stop what listens there and run again"
                )
            raise ToxiproxyError(f"cannot {what}: Toxiproxy answered {status}: {text}")
        return content

    async def _call(
        self, method: str, path: str, body: dict[str, object] | None
    ) -> tuple[int, bytes]:
        options: dict[str, object] = {
            "timeout": (CONNECT_WITHIN_S, self._within_s),
            # A proxy in the environment is none for a server on this host.
            "proxies": {"no_proxy": HOST},
        }
        if body is not None:
            options["json"] = body
        response = await asyncio.to_thread(self._api, method, path, options)
        return getattr(response, "status_code"), getattr(response, "content")  # noqa: B009 - the library has no types

    async def _give_up(self, what: str) -> None:
        # Let a death be seen first: it is a better reason than the silence that followed it.
        await asyncio.wait({self._watch}, timeout=_DEATH_SEEN_WITHIN_S)
        if self.problem is None:
            self.problem = f"Toxiproxy did not answer within {self._within_s:g} s when asked to {what}, and was killed"
            with contextlib.suppress(ProcessLookupError):
                send_signal(self._process, signal.SIGKILL)
        await asyncio.wait({self._watch}, timeout=self._within_s)

    def check(self) -> None:
        """Raise ToxiproxyGoneError when it can no longer be relied on, or has ended without anybody noticing yet."""
        seen = sample(self.pid)
        if self.problem is None and (seen is None or seen.state in ("Z", "X")):
            self.problem = f"Toxiproxy ended: {self._last_words()}"
        if self.problem is not None:
            raise ToxiproxyGoneError(self.problem)

    async def _notice_end(self) -> None:
        code = await self._process.wait()
        if self.problem is None:
            self.problem = f"Toxiproxy ended with {code}: {self._last_words()}"

    async def _await_answer(self) -> None:
        while True:
            if self._process.returncode is not None:
                raise ToxiproxyGoneError(
                    f"Toxiproxy ended with {self._process.returncode} when it was started: {self._last_words()}"
                )
            self._refuse_foreign()
            try:
                _, content = await self._call("get", "/version", None)
                _decoded(content, _Version, "read the version")
                return
            except (OSError, _RefusedError, ToxiproxyError):
                await asyncio.sleep(0.005)

    def _refuse_foreign(self) -> None:
        if b"Server finished with error" in regular.read(self.log):
            raise ToxiproxyPortError(
                f"port {self.port} was to be Toxiproxy's, but something else listens there: stop it and run again"
            )

    async def _recognise(self) -> None:
        """Make sure that it is our server that answers: a second one on the same port stays alive, unheard.

        A proxy with a name that nobody can know must show in our log.
        """
        name = f"recognise-{secrets.token_hex(8)}"
        asked = {"name": name, "listen": f"{HOST}:0", "upstream": f"{HOST}:1", "enabled": True}
        await self._post("/proxies", asked, _ProxyState, "recognise the server")
        await self._ask("delete", _proxy(name), "recognise the server")
        if name.encode() not in regular.read(self.log):
            raise ToxiproxyPortError(
                f"another Toxiproxy answers on port {self.port}: stop it and run again"
            )

    def _last_words(self) -> str:
        text = regular.read(self.log)[-_MAX_LOG_TAIL_BYTES:].decode(errors="replace").strip()
        return text or "it wrote nothing"


def mismatch(asked: Toxic, found: _ToxicState) -> str | None:
    """How the toxic in force differs from the one asked for; attributes not asked for must be 0."""
    if (found.type, found.stream) != (asked.type, asked.stream):
        return f"it is {found.type} {found.stream}, not {asked.type} {asked.stream}"
    if found.toxicity != 1.0:
        return f"its toxicity is {found.toxicity}, not 1"
    for name in sorted(asked.attributes.keys() | found.attributes.keys()):
        if name not in found.attributes:
            return f"it has no attribute {name!r}"
        if found.attributes[name] != asked.attributes.get(name, 0):
            return f"{name} is {found.attributes[name]:g}, not {asked.attributes.get(name, 0)}"
    return None


def traffic_from(metrics: str) -> dict[str, Traffic]:
    """Bytes per link from Toxiproxy's metrics page (Prometheus text format)."""
    sent: dict[str, int] = {}
    received: dict[str, int] = {}
    for kind, labels, value in _TRAFFIC.findall(metrics):
        named = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        # What the proxy received from its clients is what they sent; what it sent to them, what they received.
        if (kind, named.get("direction")) == ("received", "upstream"):
            sent[named["proxy"]] = int(float(value))
        elif (kind, named.get("direction")) == ("sent", "downstream"):
            received[named["proxy"]] = int(float(value))
    return {
        link: Traffic(sent.get(link, 0), received.get(link, 0))
        for link in sent.keys() | received.keys()
    }


def _proxy(link: str) -> str:
    return f"/proxies/{quote(link, safe='')}"


def _toxic(link: str, name: str) -> str:
    return f"{_proxy(link)}/toxics/{quote(name, safe='')}"


def _decoded(content: bytes, shape: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(content, type=shape)
    except UNREADABLE as error:
        raise ToxiproxyError(
            f"cannot {what}: Toxiproxy's answer is not understood: {error}"
        ) from error


def _message(content: bytes) -> str:
    try:
        document = msgspec.json.decode(content, type=dict[str, object])
        return str(document.get("error") or document.get("title") or document)
    except UNREADABLE:
        return content.decode(errors="replace").strip() or "nothing"
