"""The one container of the package: a frozen, keyword-only dataclass that is a JAX pytree.

Every field is a differentiable leaf unless it is declared `static`. Static is for names and for
numbers that set a shape; everything else stays a leaf, so that a sweep over it neither recompiles
nor loses its gradient. Values are never validated on construction: a container is rebuilt at every
`vmap`, `grad` and `jit`, with tracers inside. Domains are metadata of the fields instead, checked
by `jaxstake.core.checks.in_domains` where a model starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform

import jax

from jaxstake.core.domain import Domain

T = TypeVar("T")

_STATIC, _UNIT, _DOMAIN, _MEANING = "static", "unit", "domain", "meaning"


def leaf(
    *,
    default: Any = dataclasses.MISSING,
    unit: str = "1",
    domain: Domain | None = None,
    meaning: str = "",
) -> Any:
    """Declare a differentiable field.

    Args:
        default: value of the field when it is not given; required if missing.
        unit: unit of the value, for labels ("ETH", "1/year", "1" for a fraction).
        domain: the values for which a model is defined, or None for any finite number.
        meaning: one line for tables and figures.
    """
    metadata = {_UNIT: unit, _DOMAIN: domain, _MEANING: meaning}
    return dataclasses.field(default=default, metadata=metadata)


def branch(*, default_factory: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds another container; `default_factory` builds its default."""
    return dataclasses.field(default_factory=default_factory)


def static(*, default: Any = dataclasses.MISSING, meaning: str = "") -> Any:
    """Declare a field that is part of the structure: hashable, compared by equality, never traced."""
    return dataclasses.field(default=default, metadata={_STATIC: True, _MEANING: meaning})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(leaf, branch, static))
def pytree(cls: type[T]) -> type[T]:
    """Turn a class with annotated fields into a frozen, keyword-only dataclass registered with JAX.

    Example:
        >>> @pytree
        ... class Point:
        ...     x: float = leaf(unit="m")
        ...     y: float = leaf(default=0.0, unit="m")
        >>> jax.tree.leaves(Point(x=1.0))
        [1.0, 0.0]
        >>> float(jax.grad(lambda p: p.x * p.x)(Point(x=3.0)).x)
        6.0
    """
    container = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    fields = dataclasses.fields(container)  # type: ignore[arg-type]
    jax.tree_util.register_dataclass(
        container,
        data_fields=[f.name for f in fields if not f.metadata.get(_STATIC)],
        meta_fields=[f.name for f in fields if f.metadata.get(_STATIC)],
    )
    return container


def data_fields(container: Any) -> Mapping[str, dataclasses.Field[Any]]:
    """The non-static fields of a container (or of its class), by name, in order."""
    return {f.name: f for f in dataclasses.fields(container) if not f.metadata.get(_STATIC)}


def unit_of(field: dataclasses.Field[Any]) -> str:
    """Unit declared for a field ("1" if none)."""
    return field.metadata.get(_UNIT, "1")


def domain_of(field: dataclasses.Field[Any]) -> Domain | None:
    """Domain declared for a field, or None."""
    return field.metadata.get(_DOMAIN)


def meaning_of(field: dataclasses.Field[Any]) -> str:
    """One-line meaning declared for a field ("" if none)."""
    return field.metadata.get(_MEANING, "")
