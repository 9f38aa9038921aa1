"""The types of JSON, for the few places where any JSON is legal."""

from collections.abc import Mapping, Sequence

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""Anything JSON can say."""
