"""Requests to the Beacon API and what all its answers share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jaxstake.data import fields, web

Source: TypeAlias = str | os.PathLike[str]
"""A file with an answer, or the base URL of a node."""


def path(base: str, source: Source, name: str, value: int | str | None, **others: Sequence[object]) -> str:
    """The path of a request, or "" of a file.

    Raises:
        ValueError: a file with arguments of a request, or a request that lacks its own.
    """
    if not web.is_url(source):
        given = [*([] if value is None else [name]), *(key for key, items in others.items() if len(items))]
        if given:
            raise ValueError(f"{source} is a file, {given[0]} is for a request to a node")
        return ""
    if value is None or isinstance(value, bool) or not str(value).isascii() or not str(value).isalnum():
        raise ValueError(f"{source}: a request needs {name}, a whole number or a name, got {value!r}")
    return base + str(value)


def load(
    source: Source,
    below: str,
    client: web.Client,
    *,
    query: Mapping[str, object] | None = None,
    post: Sequence[str] | Mapping[str, Any] | None = None,
) -> tuple[str, Any]:
    """The file or URL, for messages, and the JSON value that it holds."""
    if not web.is_url(source):
        return str(source), fields.parse(str(source), fields.read_file(Path(source)))
    url = web.address(str(source), below, query or {})
    with web.session(client) as pool:
        return url, fields.parse(url, web.fetch(pool, url, post=post, client=client))


def distinct(where: str, rows: list[dict[str, Any]], name: str) -> np.ndarray:
    """[R] int64, no two of which are equal."""
    values = fields.wholes(where, rows, name)
    seen: dict[int, int] = {}
    for number, value in enumerate(values, 1):
        if seen.setdefault(value, number) != number:
            raise ValueError(f"{where}, row {number}: {name} {value} is in row {seen[value]} already")
    return np.array(values, np.int64)


def standing(place: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The fields `execution_optimistic` and `finalized` of an answer, which it may lack."""
    found = {}
    for name, default in (("execution_optimistic", False), ("finalized", None)):
        found[name] = answer.get(name, default)
        if name in answer and not isinstance(found[name], bool):
            raise ValueError(f"{place}: {name} must be true or false, got {fields.shown(found[name])}")
    return found
