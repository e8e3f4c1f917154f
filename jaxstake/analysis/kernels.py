"""What a sweep runs on the device: one chunk of lanes, in full or reduced to partial statistics.

Values come one per swept leaf: a scalar for a leading axis of a grid, else a vector over the lanes, or over equal
runs of lanes. The model, the names and the shape are static; values, base and bounds are not, so new ones reuse the
compilation. `length` is the number of lanes that are no padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.analysis import reductions
from jaxstake.core import leaves

Model = Callable[[Any], Any]


def named(result: Any) -> dict[str, Any]:
    """Results of a model by dotted name; a bare scalar is "value"."""
    return {name or "value": value for name, value in leaves.as_dict(result).items()}


_STATIC = ("model", "names", "outputs")


@functools.partial(jax.jit, static_argnames=_STATIC)
def every_lane(base: Any, values: Any, length: Any, **static: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """All lanes of a chunk by output, and how many are invalid."""
    results, inside = _evaluate(base, values, length, **static)
    return results, jnp.sum(inside & _any_nan(results), dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames=(*_STATIC, "statistics"))
def first_pass(base: Any, values: Any, length: Any, *, statistics: tuple[str, ...], **static: Any) -> Any:
    """Partial statistics of a chunk by output, and how many lanes are invalid."""
    results, inside = _evaluate(base, values, length, **static)
    bad = _any_nan(results)
    partials = {name: reductions.first_pass(lanes, inside & ~bad, statistics) for name, lanes in results.items()}
    return partials, jnp.sum(inside & bad, dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames=_STATIC)
def second_pass(base: Any, values: Any, length: Any, bounds: Any, **static: Any) -> dict[str, jax.Array]:
    """Counts between bounds by output."""
    results, inside = _evaluate(base, values, length, **static)
    valid = inside & ~_any_nan(results)
    return {name: reductions.second_pass(lanes, valid, *bounds[name]) for name, lanes in results.items()}


def _evaluate(
    base: Any,
    values: tuple[jax.Array, ...],
    length: Any,
    *,
    model: Model,
    names: tuple[str, ...],
    outputs: tuple[str, ...],
) -> tuple[dict[str, jax.Array], jax.Array]:
    """The model on every lane of a chunk, row-major, and which lanes are no padding."""

    def scenario(*swept: jax.Array) -> dict[str, jax.Array]:
        results = named(model(leaves.replace(base, dict(zip(names, swept, strict=True)))))
        return {name: jnp.asarray(results[name]) for name in outputs}

    size = max(value.size for value in values)
    lanes = [jnp.repeat(value, size // value.size) if value.ndim else value for value in values]
    results = jax.vmap(scenario, in_axes=[0 if value.ndim else None for value in lanes])(*lanes)
    inside = jnp.arange(size, dtype=jnp.int32) < length
    return results, inside


def _any_nan(results: Mapping[str, jax.Array]) -> jax.Array:
    return functools.reduce(jnp.logical_or, [jnp.isnan(lanes) for lanes in results.values()])
