"""What kinds say of themselves is of fields that they have."""

import pytest

from chaos.spec.kind import Kind
from chaos.spec.step import Expect
from chaos.steps import BY_NAME, FILES, KINDS
from chaos.steps.kill import Kill
from chaos.steps.restart import Restart
from chaos.steps.watch import Watch


@pytest.mark.parametrize("kind", BY_NAME.values(), ids=BY_NAME)
def test_a_kind_speaks_of_its_own_fields(kind: Kind) -> None:
    fields = set(kind.spec.__struct_fields__)
    assert {*kind.names, *kind.paths, *kind.fills, *kind.filled_in} <= fields
    assert kind.observes <= set(Expect.__struct_fields__)
    assert KINDS[kind.spec] is kind


def test_every_file_is_listed_once() -> None:
    assert len(set(FILES)) == len(FILES)


def test_names_in_a_step_have_their_places() -> None:
    step = Restart(restart=["web", "stock"])
    found = list(KINDS[Restart].named(step, "process"))
    assert found == [(("restart", 0), "web"), (("restart", 1), "stock")]
    assert list(KINDS[Restart].named(step, "link")) == []
    assert list(KINDS[Kill].named(Kill(kill="web"), "process")) == [(("kill",), "web")]
    watch = Watch(watch="sizes", processes=["web"], meanwhile=[])
    assert list(KINDS[Watch].named(watch, "process")) == [(("processes", 0), "web")]
