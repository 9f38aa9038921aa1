"""Faults on links. One file each, named as in YAML, and listed here.

To add one: a file with its Struct and its `SIGNATURE`, and one line in each of the two tables. Nothing below
this package but `window` and `run` touches a process or a socket.
"""

from collections.abc import Callable, Mapping, Sequence

from chaos.evidence.schema import LinkProbe
from chaos.faults import (
    bandwidth,
    cut,
    latency,
    limit_data,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)
from chaos.faults.base import Attributes, FaultStep, Signature, carries, has_body, request_bytes
from chaos.spec.target import LinkSpec

FAULTS: Mapping[str, type[FaultStep]] = {
    "cut": cut.Cut,
    "latency": latency.Latency,
    "bandwidth": bandwidth.Bandwidth,
    "slow_close": slow_close.SlowClose,
    "timeout": timeout.Timeout,
    "reset_peer": reset_peer.ResetPeer,
    "slicer": slicer.Slicer,
    "limit_data": limit_data.LimitData,
}
"""The Struct of every fault by its key in YAML."""

SIGNATURES: Mapping[str, Signature] = {
    "cut": cut.SIGNATURE,
    "latency": latency.SIGNATURE,
    "bandwidth": bandwidth.SIGNATURE,
    "slow_close": slow_close.SIGNATURE,
    "timeout": timeout.SIGNATURE,
    "reset_peer": reset_peer.SIGNATURE,
    "slicer": slicer.SIGNATURE,
    "limit_data": limit_data.SIGNATURE,
}
"""What every fault looks like from outside."""

Proof = Callable[[Attributes, Sequence[LinkProbe]], str | None]

PROOFS: Mapping[str, Proof] = {kind: signature.proof for kind, signature in SIGNATURES.items()}
"""(attributes as recorded, the probes of one window) → None when proven, otherwise the reason why not."""

CLEAN_AGAIN: Mapping[str, Proof] = {
    kind: signature.clean_again for kind, signature in SIGNATURES.items()
}
"""The same for the path being clean again after the window."""


def impossible(step: FaultStep, link: LinkSpec) -> str | None:
    """Why the fault makes no sense on this link, or its proof cannot be carried by the link's probe, if so."""
    reason = step.problem()
    if reason is None and not isinstance(step, cut.Cut):
        reason = carries(step, link)
    return reason or _too_small(step, link)


def _too_small(step: FaultStep, link: LinkSpec) -> str | None:
    if link.probe is None or not isinstance(
        step, bandwidth.Bandwidth | slicer.Slicer | limit_data.LimitData
    ):
        return None
    if step.stream == "downstream":
        reason = f"the probe of {step.link} is a HEAD request: its answer has no body to tell {step.kind} by"
        return None if has_body(link.probe) else reason
    size_bytes = request_bytes(link.probe)
    if (
        isinstance(step, bandwidth.Bandwidth)
        and size_bytes / step.rate.kb_per_s < bandwidth.LEAST_WORTH_MS
    ):
        least = step.rate.kb_per_s * bandwidth.LEAST_WORTH_MS
        return f"the probe's request of {size_bytes} bytes is too small to tell {step.rate} by: it takes {least:.0f}"
    if isinstance(step, slicer.Slicer) and size_bytes < slicer.LEAST_SLICES * (
        step.size.bytes + step.variation.bytes
    ):
        return f"the probe's request of {size_bytes} bytes does not make {slicer.LEAST_SLICES} slices of {step.size}"
    return None
