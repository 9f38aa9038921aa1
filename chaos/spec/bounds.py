"""The bounds that a release may raise."""

from chaos import bounds
from chaos.spec.step import Spec
from chaos.spec.units import Duration, Size


class Bounds(Spec, frozen=True, kw_only=True):
    """How much one gate may take, so that none takes a machine: `bounds: {gate: 5min}` in `release.yaml` raises one.

    `iterations` are the passes of all of its `repeat` together; `gate` is its time from the start of the target to the
    end of the last step, which is UNKNOWN when it has passed; of the `output` of a command, or of a process of the
    target, more is read and not kept.
    """

    iterations: int = bounds.ITERATIONS
    gate: Duration = Duration(bounds.GATE)
    output: Size = Size(bounds.OUTPUT)


DEFAULT = Bounds()
