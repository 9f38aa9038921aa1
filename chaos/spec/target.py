"""A target: how a system is started, which of its edges can be faulted, which of its files are evidence."""

from chaos.evidence.schema import Spoken
from chaos.spec.step import Send, Spec, SpecFile, Step
from chaos.spec.units import Duration


class Prepare(Spec, frozen=True, kw_only=True):
    """A command that runs once per stack before anything starts; it must exit 0."""

    run: str
    capture: dict[str, str] = {}
    within: Duration = Duration("20s")


class Actor(Spec, frozen=True, kw_only=True):
    """Who sends a request. `role` is for the record and defaults to the actor's name."""

    bearer: str | None = None
    headers: dict[str, str] = {}
    role: str | None = None


class ProcessSpec(Spec, frozen=True, kw_only=True):
    """One process, which is started with `run`, or by the process that it is `child_of` whenever that sees fit.

    `port` is nominal: a run allots a free one, `{port.NAME}`.
    `ready` is `GET /path` (any 2xx), or `tcp` (a connection is accepted).
    """

    run: str = ""
    child_of: str | None = None
    port: int
    ready: str = "tcp"
    ready_within: Duration = Duration("15s")
    env: dict[str, str] = {}
    stop_within: Duration = Duration("5s")


class Probe(Send, frozen=True, kw_only=True):
    """What proves faults on a link, in the protocol that its server speaks.

    An HTTP request, or `websocket`, the path of a handshake with its `headers`; or `tls`, the name that a handshake asks for;
    or `tcp`, bytes to send, of which a right answer ends in `answer`. In these two every character is a byte.
    """

    websocket: str | None = None
    tls: str | None = None
    tcp: str | None = None
    answer: str | None = None

    @property
    def protocol(self) -> Spoken:
        """What its server speaks."""
        if self.websocket is not None:
            return "websocket"
        if self.tls is not None:
            return "tls"
        return "http" if self.tcp is None else "tcp"

    def target(self) -> tuple[str, str]:
        """(method, path) as written, of a handshake as well; ValueError for what has none, or several."""
        if self.websocket is None:
            return super().target()
        return "GET", self.websocket

    def problem(self) -> str | None:
        """Why this is no probe, or None."""
        ways = [self.websocket, self.tls, self.tcp]
        if all(way is None for way in ways):
            return self._request_problem()
        given = {name for name in self.__struct_fields__ if getattr(self, name) is not None}
        allowed = {
            "websocket": {"websocket", "headers", "as_"},
            "tls": {"tls"},
            "tcp": {"tcp", "answer"},
        }[self.protocol]
        if given - allowed:
            extra = ", ".join(sorted(name.rstrip("_") for name in given - allowed))
            return f"a probe with `{self.protocol}` has no {extra}"
        return self._bytes_problem() if self.protocol == "tcp" else None

    def _request_problem(self) -> str | None:
        try:
            self.target()
        except ValueError as error:
            return str(error)
        return "`answer` belongs to `tcp`" if self.answer is not None else None

    def _bytes_problem(self) -> str | None:
        if not self.tcp or not self.answer:
            return "`tcp` is what is sent and `answer` what a right answer ends in: neither may be missing or empty"
        if max(self.tcp + self.answer) > "\xff":
            return r"every character of `tcp` and `answer` is a byte, up to \xff"
        return None


class LinkSpec(Spec, frozen=True, kw_only=True):
    """An edge that goes through Toxiproxy. `env` tells the process before the arrow where to connect.

    `env` gets `http://HOST:PORT`, or what `env_value` makes of `{host}` and `{port}`. `probe` is what
    proves a fault; it needs enough answer for the faults that gates put on the link.
    """

    to: str
    env: str | None = None
    env_value: str = "http://{host}:{port}"
    probe: Probe | None = None


class Collect(Spec, frozen=True, kw_only=True):
    """A table of the system's own that becomes evidence, read from a copy after all writers stopped.

    `columns` maps a column to one of the types of `chaos.evidence.schema.COLLECTED_TYPES`; exactly one of
    `sqlite` (a database file; `sql` defaults to all of the table) and `jsonl` (a file, or a
    directory of them in the order of their names) names its source.
    """

    table: str
    columns: dict[str, str]
    sqlite: str | None = None
    sql: str | None = None
    jsonl: str | None = None


class View(Spec, frozen=True, kw_only=True):
    """A named query over the evidence of any gate of a target, with a population of its own."""

    query: str
    at_least: int


class Target(SpecFile, frozen=True, kw_only=True):
    """A system that gates can be written for. Nothing in the harness knows any particular one.

    `default` is the process that requests go to when neither `to` nor `via` is given (the first one
    otherwise); `config` the YAML file that a gate's `config:` is merged into; `redact` regular expressions
    of secrets that must never be written to evidence; a group in one is a part that is a secret by itself.
    `environment` names variables of the harness's environment that its processes and the commands of gates get besides
    PATH, HOME, LANG and TMPDIR; nothing else is handed on. `keep_alive` is how long its servers keep a connection that
    is idle, for loads whose answers do not say so.
    `views` are queries that gates may use like those of their own `with`.
    """

    target: str
    title: str = ""
    source: list[str] = []
    prepare: list[Prepare] = []
    config: str | None = None
    environment: list[str] = []
    keep_alive: Duration | None = None
    actors: dict[str, Actor] = {}
    processes: dict[str, ProcessSpec]
    default: str | None = None
    links: dict[str, LinkSpec] = {}
    exercise: list[Step] = []
    collect: list[Collect] = []
    views: dict[str, View] = {}
    redact: list[str] = []

    def default_process(self) -> str:
        """The process that requests go to unless they say otherwise."""
        return self.default or next(iter(self.processes))
