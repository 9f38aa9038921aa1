"""A scenario file as it is written in YAML."""

from chaos.spec.step import Defaults, SpecFile, Step


class ScenarioFile(SpecFile, frozen=True, kw_only=True):
    """Steps that several gates use.

    `args` names the arguments that `use … with` must give, `gives` the variables that the steps set in the gate.
    `defaults` are options of all steps.
    """

    scenario: str
    title: str = ""
    args: list[str] = []
    gives: list[str] = []
    defaults: Defaults | None = None
    steps: list[Step]
