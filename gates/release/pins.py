"""Whether the floor is still the floor: its gates are pinned to the digests of the last release."""

from collections.abc import Mapping

from gates.spec.release import Release


def pins(release: Release, floor: Mapping[str, str | None]) -> tuple[bool | None, str]:
    """(holds, detail): no pinned gate was changed or dropped without a reason being given.

    `floor` maps every floor gate to the SHA-256 of its spec, None where it was not run: a pinned gate that
    was not run is not measured. A gate of the floor without a pin is new, and the detail says so.
    """
    sorts: dict[str, list[str]] = {"unreasoned": [], "unmeasured": [], "reasoned": []}
    for name, pinned in release.floor_digests.items():
        reason = release.reasons.get(name, "").strip()
        if name in floor and floor[name] is None:
            sorts["unmeasured"].append(name)
        elif floor.get(name) != pinned:
            what = "changed" if name in floor else "dropped"
            text = f"{name} was {what}" + (f": {reason}" if reason else " without a reason")
            sorts["reasoned" if reason else "unreasoned"].append(text)
    new = [name for name, digest in floor.items() if digest and name not in release.floor_digests]
    parts = [*sorts["unreasoned"], *sorts["reasoned"]]
    parts += [f"not run: {', '.join(sorts['unmeasured'])}"] if sorts["unmeasured"] else []
    parts += [f"not pinned: {', '.join(new)}"] if new else []
    holds = False if sorts["unreasoned"] else None if sorts["unmeasured"] else True
    return holds, "; ".join(parts) or f"{len(release.floor_digests)} pinned, none changed"
