"""Leaves of nested containers by dotted name: "network.total_stake_eth".

Names are the interface of sweeps, sensitivities and the command line, so an unknown one is an
error that lists the nearest, and each name knows its unit, domain and meaning.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from jaxstake.core.domain import Domain
from jaxstake.core.pytree import data_fields, domain_of, meaning_of, unit_of

T = TypeVar("T")


def names(container: Any) -> list[str]:
    """Dotted names of all leaves, in the order of the fields. Fields that are None are absent.

    A mapping counts as a container, its keys as field names. Anything else is one nameless leaf.
    """
    return [name for name, _, _ in _walk(container)]


def get(container: Any, name: str) -> Any:
    """The leaf of that name.

    Raises:
        ValueError: no such leaf; the message lists the nearest names.
    """
    found = as_dict(container)
    if name not in found:
        raise ValueError(unknown_name("leaf", name, list(found)))
    return found[name]


def as_dict(container: Any) -> dict[str, Any]:
    """All leaves by dotted name."""
    return {name: value for name, value, _ in _walk(container)}


def replace(container: T, values: Mapping[str, Any]) -> T:
    """A copy of the container with the named leaves replaced.

    Raises:
        ValueError: a name is unknown; the message lists the nearest names.
    """
    known = names(container)
    for name in values:
        if name not in known:
            raise ValueError(unknown_name("leaf", name, known))
    return _replace(container, values)


def units(container: Any) -> dict[str, str]:
    """Unit of every leaf by dotted name."""
    return {name: unit_of(field) if field else "1" for name, _, field in _walk(container)}


def domains(container: Any) -> dict[str, Domain]:
    """Domain of every leaf that declares one, by dotted name."""
    found = {name: domain_of(field) for name, _, field in _walk(container) if field}
    return {name: domain for name, domain in found.items() if domain is not None}


def meanings(container: Any) -> dict[str, str]:
    """One-line meaning of every leaf by dotted name."""
    return {name: meaning_of(field) if field else "" for name, _, field in _walk(container)}


def unknown_name(kind: str, name: str, known: list[str]) -> str:
    """Message for an unknown name: what it is, and the nearest known ones."""
    last_parts: dict[str, list[str]] = {}
    for candidate in known:
        last_parts.setdefault(candidate.rsplit(".", 1)[-1], []).append(candidate)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    for last in difflib.get_close_matches(name.rsplit(".", 1)[-1], list(last_parts), n=3, cutoff=0.6):
        near += [candidate for candidate in last_parts[last] if candidate not in near]
    hint = f"; did you mean {', '.join(near[:4])}?" if near else f"; known: {', '.join(known[:12])}"
    return f"unknown {kind} '{name}'{hint}"


def _walk(container: Any, prefix: str = "", field: Any = None) -> Iterator[tuple[str, Any, Any]]:
    children = _children(container)
    if children is None:
        if container is not None:
            yield prefix.removesuffix("."), container, field
        return
    for name, child, child_field in children:
        yield from _walk(child, f"{prefix}{name}.", child_field)


def _children(container: Any) -> list[tuple[str, Any, Any]] | None:
    if dataclasses.is_dataclass(container) and not isinstance(container, type):
        return [(name, getattr(container, name), field) for name, field in data_fields(container).items()]
    if isinstance(container, Mapping):
        return [(str(name), child, None) for name, child in container.items()]
    return None


def _replace(container: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    children = _children(container)
    if children is None:
        return values.get(prefix.removesuffix("."), container)
    new = {name: _replace(child, values, f"{prefix}{name}.") for name, child, _ in children}
    changed = {name: new[name] for name, child, _ in children if new[name] is not child}
    if not changed:
        return container
    if isinstance(container, Mapping):
        return {key: new[str(key)] for key in container}
    return dataclasses.replace(container, **changed)
