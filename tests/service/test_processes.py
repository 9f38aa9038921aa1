"""The table of processes, and that a row in it is all that a further process needs."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.errors import StartRefused
from service.internal.runner import bind
from service.processes import BEHIND, GATEWAY, PROCESSES, Listen, Process, start_order
from tests.service.running import Gateway, State, environment, exchange_signed, free_port, until

PROJECT = Path(__file__).parents[2]
PACKAGE = '''"""A process that can do no more than every process."""

from service.ids import random_id
from service.internal.app import internal_app
from service.internal.runner import serve
from service.internal.start import Checked


def run(checked: Checked) -> None:
    serve(internal_app([], {}, checked.link, random_id), checked)
'''
ROW = '    Process("dummy", 7999, "service.dummy.process:run", depends_on=("tools",)),\n'


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "", "7e3", "7²"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(StartRefused, match="SONIA_GATEWAY_PORT"):
        GATEWAY.listen({"SONIA_GATEWAY_PORT": port})


def test_addresses_default_to_loopback_and_nominal_ports() -> None:
    tools, memory = PROCESSES["tools"], PROCESSES["memory"]
    assert (tools.listen({}).host, tools.listen({}).port) == ("127.0.0.1", 7040)
    assert tools.listen({"SONIA_TOOLS_HOST": "::1", "SONIA_TOOLS_PORT": "1"}).port == 1
    assert memory.url({}) == "http://127.0.0.1:7020"
    assert memory.url({"SONIA_MEMORY_URL": "http://127.0.0.1:1/"}) == "http://127.0.0.1:1"
    # Where it listens is where it is reached, unless a URL says otherwise.
    assert memory.url({"SONIA_MEMORY_PORT": "17020"}) == "http://127.0.0.1:17020"
    assert memory.url({"SONIA_MEMORY_HOST": "127.0.0.2"}) == "http://127.0.0.2:7020"
    assert memory.url({"SONIA_MEMORY_HOST": "::"}) == "http://[::1]:7020"
    assert memory.url({"SONIA_MEMORY_HOST": "0.0.0.0"}) == "http://127.0.0.1:7020"
    with pytest.raises(StartRefused, match="SONIA_MEMORY_PORT"):
        memory.url({"SONIA_MEMORY_PORT": "x", "SONIA_MEMORY_URL": "http://127.0.0.1:1/"})


@pytest.mark.parametrize("told", ["203.0.113.1", "2001:db8::1", "fe80::1", "a..b"])
def test_an_address_that_this_machine_does_not_have_becomes_loopback(told: str) -> None:
    environ = {"SONIA_MEMORY_HOST": told}
    listen = PROCESSES["memory"].listen(environ)
    assert (listen.host, listen.port, listen.in_place_of) == ("127.0.0.1", 7020, told)
    # Everybody finds it there, the gateway included.
    assert PROCESSES["memory"].url(environ) == "http://127.0.0.1:7020"


@pytest.mark.parametrize("told", ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", ""])
def test_an_address_that_it_has_stays_as_it_is(told: str) -> None:
    assert GATEWAY.listen({"SONIA_GATEWAY_HOST": told}) == Listen(told, 7000)


def test_whoever_listens_elsewhere_than_it_was_told_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bind(Listen("127.0.0.1", 0, in_place_of="203.0.113.1")).close()
    said = "'203.0.113.1' is no address of this machine: listening on 127.0.0.1\n"
    assert capsys.readouterr().err == said


def test_names_and_ports_are_their_own_and_dependencies_are_in_the_table() -> None:
    rows = [GATEWAY, *BEHIND]
    assert len({each.port for each in rows}) == len({each.name for each in rows}) == len(rows)
    assert {name for each in rows for name in each.depends_on} <= set(PROCESSES)
    assert set(start_order(BEHIND)) == {each.name for each in BEHIND}


def test_every_entry_point_is_there() -> None:
    assert all(callable(each.load()) for each in PROCESSES.values())


@pytest.mark.parametrize("name", ["sonia", "sonia-supervised", "sonia-nominal"])
def test_the_targets_of_the_gates_have_the_same_processes(name: str) -> None:
    target = yaml.safe_load((PROJECT / f"specs/targets/{name}.yaml").read_text())
    declared = {name: each["port"] for name, each in target["processes"].items()}
    assert declared == {name: each.port for name, each in PROCESSES.items()}


def test_the_import_contract_names_every_process() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (floors,) = [each["layers"] for each in contracts if each["id"] == "service-floors"]
    packages = {each.entry.rpartition(".")[0] for each in PROCESSES.values()}
    assert packages in [set(floor.split(" | ")) for floor in floors]


def test_what_others_depend_on_starts_before_them() -> None:
    def row(name: str, *depends_on: str) -> Process:
        return Process(name, 1, "", depends_on)

    rows = [row("sight", "light", "gateway"), row("sound"), row("light", "sun"), row("sun")]
    order = [name for name in start_order(rows) if name != "sound"]
    assert order == ["sun", "light", "sight"]
    with pytest.raises(CycleError):
        start_order([row("a", "b"), row("b", "a")])


@pytest.fixture
def with_a_dummy(tmp_path: Path) -> Path:
    """A copy of the service with one package and one row more; the directory that it lies in."""
    package = tmp_path / "service"
    shutil.copytree(PROJECT / "service", package)
    (package / "dummy").mkdir()
    (package / "dummy" / "__init__.py").touch()
    (package / "dummy" / "process.py").write_text(PACKAGE)
    table = package / "processes.py"
    head, begin, rest = table.read_text().partition("BEHIND: Final = (\n")
    table.write_text(head + begin + ROW + rest)
    return tmp_path


def command(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def all_up(state: State, with_a_dummy: Path) -> Iterator[tuple[Gateway, int]]:
    """The copy's gateway with all its children, and the port of the dummy."""
    ports = {name: free_port() for name in (*PROCESSES, "dummy")}
    extra: dict[str, str] = {}
    for name, port in ports.items():
        extra[f"SONIA_{name.upper()}_PORT"] = str(port)
        extra[f"SONIA_{name.upper()}_URL"] = f"http://127.0.0.1:{port}"
    command(with_a_dummy, "init", "--links", "--state", str(state.directory.root))
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "up", "--state", str(state.directory.root)],
        cwd=with_a_dummy,
        env=environment(ports["gateway"], extra),
    )
    gateway = Gateway(state, ports["gateway"], process)
    try:
        yield gateway, ports["dummy"]
        assert gateway.stop() == 0
    finally:
        process.kill()
        process.wait(20)


def dependencies(gateway: Gateway) -> Any:
    try:
        return gateway.call("GET", "/readyz").json["dependencies"]
    except OSError:
        return {}


def test_a_further_process_is_a_package_and_a_row(
    state: State, with_a_dummy: Path, all_up: tuple[Gateway, int]
) -> None:
    gateway, port = all_up
    until(lambda: set(dependencies(gateway).values()) == {"up"}, gateway.process)
    assert list(dependencies(gateway)) == ["dummy", *(each.name for each in BEHIND)]
    dummy = Gateway(state, port, gateway.process)
    assert dummy.call("GET", "/readyz").json == {"status": "ready"}
    assert dummy.call("GET", "/internal/ready").status == 401
    signer = state.signer("dummy")
    assert exchange_signed(signer, port, "GET", "/internal/ready", None, {}).status == 200


def test_commands_know_a_further_process(state: State, with_a_dummy: Path) -> None:
    offered = command(with_a_dummy, "run", "--help")
    assert "{dummy,gateway,memory,model,tools}" in offered
    command(with_a_dummy, "init", "--links", "--state", str(state.directory.root))
    report = command(with_a_dummy, "doctor", "--json", "--state", str(state.directory.root))
    assert json.loads(report)["listens"]["dummy"] == "127.0.0.1:7999"
