"""A scenario file as it is written in YAML, and its steps with arguments in their places."""

from collections.abc import Mapping
from typing import ClassVar, Final

from msgspec import Struct

from chaos.spec.document import Document
from chaos.spec.loader import Choose, again_with
from chaos.spec.step import Defaults, SpecFile, Step
from chaos.steps import choose_step

CHOOSERS: Final[Mapping[type[Struct], Choose]] = {Step: choose_step}


class ScenarioFile(SpecFile, frozen=True, kw_only=True):
    """Steps that several gates use.

    `args` names the arguments that `use … with` gives: a list of those that it must give, or a mapping with the default of each, where
    nothing is the default of one that must be given. `gives` names the variables that the steps set in the gate.
    `defaults` are options of all steps.
    """

    arguments: ClassVar[str] = "args"

    scenario: str
    title: str = ""
    args: list[str] | dict[str, object] = []
    gives: list[str] = []
    defaults: Defaults | None = None
    steps: list[Step]

    def with_defaults(self, given: Mapping[str, object]) -> dict[str, object]:
        """A value for each argument, as far as there is one."""
        own = self.args if isinstance(self.args, dict) else {}
        return {name: value for name, value in own.items() if value is not None} | dict(given)


class Scenario(Struct, frozen=True):
    """A scenario file, and the document that it was read from."""

    file: ScenarioFile
    document: Document

    def with_arguments(self, arguments: Mapping[str, object]) -> ScenarioFile:
        """The file with these values in place of its defaults; SpecError says what is wrong with it then."""
        if arguments == self.file.with_defaults({}):
            return self.file
        return again_with(arguments, self.document, ScenarioFile, CHOOSERS)
