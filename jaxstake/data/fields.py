"""Fields of JSON answers: numbers as decimal strings, texts and flags; every error names the row and the field.

Both the relay Data API and the Beacon API write whole numbers as decimal strings, because JSON readers may round
numbers. A number that is no such string is refused here, never converted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

INT64, UINT64, UINT256 = 2**63 - 1, 2**64 - 1, 2**256 - 1
"""Largest numbers of the types of the APIs; an int64 also goes down to -2^63."""

EXACT_FLOAT = 2**53
"""Floats hold every whole number up to here."""

_WHOLE = re.compile(r"-?[0-9]{1,78}", re.ASCII)


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def parse(source: str, content: bytes) -> Any:
    """The value of a JSON text.

    Args:
        source: file or URL, for the message.
        content: UTF-8 (a byte-order mark is ignored).

    Raises:
        ValueError: not UTF-8, not JSON, or an object that has one field twice.

    Example:
        >>> parse("answer.json", b'{"slot": "7"}')
        {'slot': '7'}
        >>> parse("answer.json", b'{"slot": ')
        Traceback (most recent call last):
        ...
        ValueError: answer.json is not valid JSON: Expecting value at line 1, column 10
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{source} is not valid JSON: {error.msg} at {place}") from error
    except RecursionError as error:
        raise ValueError(f"{source} is not valid JSON: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{source} is not valid JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the field {next(name for name in names if names.count(name) > 1)} appears twice in an object"
        )
    return found


def member(source: str, value: Any, name: str) -> Any:
    """A field of an object that is not a row, such as `data`.

    Raises:
        ValueError: no object, or no such field.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{source} must be an object with the field {name}, got {shown(value)}")
    if name not in value:
        raise ValueError(f"{source} has no field {name}; found: {', '.join(value) or 'none'}")
    return value[name]


def rows(source: str, value: Any, *, empty: bool = False) -> list[dict[str, Any]]:
    """A list of objects.

    Args:
        source: file or URL, perhaps with the place of the list, for the message.
        value: the list.
        empty: whether it may be empty.

    Raises:
        ValueError: no list, an empty one, or an entry that is not an object.
    """
    if not isinstance(value, list):
        raise ValueError(f"{source} must be a list, got {shown(value)}")
    if not value and not empty:
        raise ValueError(f"{source} is an empty list")
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise ValueError(f"{source}, row {number}: must be an object, got {shown(row)}")
    return value


def wholes(
    source: str, found: Sequence[dict[str, Any]], name: str, *, most: int = INT64, signed: bool = False
) -> list[int]:
    """A column of whole numbers written as decimal strings, exact.

    Args:
        source: file or URL, for the message.
        found: from `rows`.
        name: the field.
        most: largest number allowed.
        signed: whether numbers down to -most - 1 are allowed, not only from 0.

    Raises:
        ValueError: a row lacks the field, or has something else in it.

    Example:
        >>> wholes("answer.json", [{"value": "51722254465170642"}], "value")
        [51722254465170642]
        >>> wholes("answer.json", [{"value": "1"}, {"value": 2}], "value")
        Traceback (most recent call last):
        ...
        ValueError: answer.json, row 2: value must be a whole number as a decimal string, got 2
    """
    least = -most - 1 if signed else 0
    texts = _column(source, found, name, _is_whole, "a whole number as a decimal string")
    return [_within(source, number, name, text, least, most) for number, text in enumerate(texts, 1)]


def optional_wholes(source: str, found: Sequence[dict[str, Any]], name: str, *, most: int) -> list[int | None]:
    """As `wholes`, with None for a row without the field."""
    texts = _column(source, found, name, _is_whole, "a whole number as a decimal string", optional=True)
    return [
        None if text is None else _within(source, number, name, text, 0, most) for number, text in enumerate(texts, 1)
    ]


def hexes(source: str, found: Sequence[dict[str, Any]], name: str, *, size: int, optional: bool = False) -> list[Any]:
    """A column of bytes in hexadecimal, as they are written.

    Args:
        source: file or URL, for the message.
        found: from `rows`.
        name: the field.
        size: number of bytes.
        optional: whether a row may lack the field, which gives None.

    Raises:
        ValueError: a row lacks the field, or has something else in it.

    Example:
        >>> hexes("answer.json", [{"root": "0x0aFF"}], "root", size=2)
        ['0x0aFF']
    """
    pattern = re.compile(rf"0x[0-9a-fA-F]{{{2 * size}}}", re.ASCII)
    rule = f"0x and {2 * size} hexadecimal digits"
    accepted = lambda value: isinstance(value, str) and pattern.fullmatch(value)  # noqa: E731
    return _column(source, found, name, accepted, rule, optional)


def flags(source: str, found: Sequence[dict[str, Any]], name: str, *, optional: bool = False) -> list[Any]:
    """A column of booleans; with `optional`, None for a row without the field.

    Raises:
        ValueError: a row lacks the field, or has something else in it.
    """
    return _column(source, found, name, lambda value: isinstance(value, bool), "true or false", optional)


def names(source: str, found: Sequence[dict[str, Any]], name: str, *, known: Sequence[str]) -> list[str]:
    """A column of names of a known set.

    Raises:
        ValueError: a row lacks the field, or has something else in it.
    """
    rule = f"one of {', '.join(known)}"
    return _column(source, found, name, lambda value: isinstance(value, str) and value in known, rule)


def inner(source: str, found: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """A column of objects, as rows.

    Raises:
        ValueError: a row lacks the field, or has something else in it.
    """
    return _column(source, found, name, lambda value: isinstance(value, dict), "an object")


def objects(values: Sequence[Any]) -> np.ndarray:
    """[N] array of Python objects: integers of any size, or texts of any length.

    Example:
        >>> int(objects([2**70, 1]).sum()) == 2**70 + 1
        True
    """
    result = np.empty(len(values), object)
    result[:] = values
    return result


def shown(value: Any) -> str:
    """A JSON value for a message, on one line and not too long."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _within(source: str, number: int, name: str, text: str, least: int, most: int) -> int:
    value = int(text)
    if not least <= value <= most:
        raise ValueError(f"{source}, row {number}: {name} must be in [{least}, {most}], got {value}")
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, str) and _WHOLE.fullmatch(value) is not None


def _column(
    source: str,
    found: Sequence[dict[str, Any]],
    name: str,
    accepted: Callable[[Any], object],
    rule: str,
    optional: bool = False,
) -> list[Any]:
    for number, row in enumerate(found, 1):
        if name not in row:
            if optional:
                continue
            raise ValueError(f"{source}, row {number}: has no field {name}")
        if not accepted(row[name]):
            raise ValueError(f"{source}, row {number}: {name} must be {rule}, got {shown(row[name])}")
    return [row.get(name) for row in found]
