"""Tasks are done by whoever is free, each once; what goes wrong at one costs that one alone."""

import io
import os
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chaos.errors import HarnessError
from gates.run.session import Options, open_session
from gates.run.tasks import Spread, spread
from tests.builders.small_project import write_project
from tests.builders.toy_tasks import Came, Toy


class Toys:
    """A session whose workers do toys, and what is printed of them."""

    def __init__(self, root: Path) -> None:
        specs = write_project(root, {})
        self.session = open_session(Options(specs=str(specs)), root / "runs", lambda _: None)
        self.folder = root / "done"
        self.folder.mkdir()
        self._console = Console(width=200, record=True, file=io.StringIO())

    def spread(
        self, workers: int, *ends: str, expression: str | None = None, first: bool = False
    ) -> Spread[Came]:
        toys = [
            Toy(
                label=f"toy {number}",
                words=(f"word{number}",),
                number=number,
                folder=self.folder,
                ends=one,  # type: ignore[arg-type]
            )
            for number, one in enumerate(ends)
        ]
        options = msgspec.structs.replace(self.session.options, workers=workers)
        session = msgspec.structs.replace(self.session, options=options)
        return spread(session, toys, self._console, expression=expression, first=first)

    @property
    def begun(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.iterdir())

    @property
    def left(self) -> list[str]:
        """What workers were told, and who they were."""
        places = self.session.path.iterdir()
        return [path.name for path in places if path.suffix == ".pid" or path.name == "tasks.json"]

    @property
    def printed(self) -> str:
        return self._console.export_text(clear=False)


@pytest.fixture
def toys(tmp_path: Path) -> Toys:
    return Toys(tmp_path)


def test_each_is_done_once_and_told(toys: Toys) -> None:
    found = toys.spread(1, *["well"] * 3).complete()
    assert found == [Came(number, os.getpid()) for number in range(3)]
    assert toys.begun == [0, 1, 2]
    assert "  1/3 done       toy 0 is 0 (kept)\n  2/3 done       toy 1 is 1  " in toys.printed
    assert toys.left == []


def test_what_goes_wrong_costs_itself_alone(toys: Toys) -> None:
    """However much a worker that dies had still to do: another takes its place."""
    done = toys.spread(2, *["well"] * 7, "broken", "death", "crash", *["well"] * 9, "no success")
    assert toys.begun == list(range(20))
    assert [number for number, came in enumerate(done.results) if came is None] == [7, 8, 9]
    assert not done.interrupted
    assert sorted(done.lost) == [
        "toy 7: it cannot be done",
        "toy 8: the worker died",
        "toy 9: ValueError: nobody thought of that",
    ]
    for line in ("UNKNOWN    toy 8 ", "done       toy 19 is 19 "):
        assert line in toys.printed
    with pytest.raises(HarnessError, match=r"3 of 20 could not be done: .*the worker died"):
        done.complete()
    assert toys.left == []


def test_an_interrupt_is_one(toys: Toys) -> None:
    done = toys.spread(1, "well", "interrupt", "well")
    assert toys.begun == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        done.complete()
    assert toys.left == []


def test_with_first_nothing_is_begun_after_what_is_no_success(toys: Toys) -> None:
    done = toys.spread(1, "well", "no success", "well", first=True)
    assert toys.begun == [0, 1]
    assert done.results[2] is None


def test_an_expression_selects_by_words_and_labels(toys: Toys) -> None:
    toys.spread(1, "well", "well", "well", expression="word0 or (toy and 2)")
    assert toys.begun == [0, 2]


def test_of_nothing_nothing_comes(toys: Toys) -> None:
    assert toys.spread(2).complete() == []
