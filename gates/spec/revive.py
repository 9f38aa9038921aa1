"""Reads specs back from the JSON that is shipped, quickly, and without asking where in a file a value stands."""

import functools
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from chaos.errors import HarnessError
from chaos.spec.loader import Refusal, unit_hook
from gates.spec.project import CHOOSERS

S = TypeVar("S", bound=Struct)


def read_spec(path: Path, kind: type[S]) -> S:
    """A gate or target from the canonical JSON that its digest was taken of; HarnessError when it is none."""
    try:
        plain = msgspec.json.decode(path.read_bytes())
        value = revived(plain, kind)
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(f"cannot read {path}: {error}") from error
    assert isinstance(value, kind)
    return value


def revived(plain: object, hint: object) -> object:
    """A plain value as what `hint` asks for; ValueError when it is not that."""
    sort: type = type(plain)
    hint = _alternative(sort, hint)
    if sort is hint or hint is object:
        return plain
    arguments = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _struct(plain, hint)
    if get_origin(hint) is list and isinstance(plain, list):
        return [revived(item, arguments[0]) for item in plain]
    if get_origin(hint) is dict and isinstance(plain, dict):
        return {key: revived(value, arguments[1]) for key, value in plain.items()}
    return msgspec.convert(plain, hint, dec_hook=unit_hook)


def _struct(plain: object, base: type[Struct]) -> Struct:
    if not isinstance(plain, dict):
        raise TypeError(f"{base.__name__} is not an object")
    kind = CHOOSERS[base](plain) if base in CHOOSERS else base
    if isinstance(kind, Refusal):
        raise ValueError(kind.message)
    hints = _hints(kind)
    fields = _fields(kind)
    unknown = plain.keys() - fields.keys()
    if unknown:
        raise ValueError(f"{kind.__name__} has no {sorted(unknown)}")
    values = {fields[key]: revived(value, hints[fields[key]]) for key, value in plain.items()}
    return kind(**values)


@functools.cache
def _alternative(sort: type, hint: object) -> object:
    """Of a union those that a value of this sort can be; leaves are left to msgspec."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    if sort is type(None):
        return sort
    options = [option for option in get_args(hint) if option is not type(None)]
    fitting = [option for option in options if _fits(sort, option)]
    return Union[tuple(fitting or options)]  # noqa: UP007 - of values


def _fits(sort: type, option: object) -> bool:
    is_mapping = get_origin(option) is dict or (
        isinstance(option, type) and issubclass(option, Struct)
    )
    is_list = get_origin(option) is list
    if sort is dict:
        return is_mapping
    return is_list if sort is list else not is_mapping and not is_list


@functools.cache
def _fields(struct: type[Struct]) -> Mapping[str, str]:
    return {field.encode_name: field.name for field in msgspec.structs.fields(struct)}


@functools.cache
def _hints(struct: type[Struct]) -> Mapping[str, object]:
    return get_type_hints(struct)
