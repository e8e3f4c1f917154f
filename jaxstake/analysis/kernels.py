"""What a sweep runs on the device: one chunk of lanes, in full or reduced to partial statistics.

A grid chunk is evaluated by nested `vmap`s, one per axis, so that what depends on one axis alone is computed once
per value of it. The model, the names and the shape are static; values, base and bounds are not, so new ones reuse
the compilation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.analysis import reductions
from jaxstake.analysis.layout import Mode
from jaxstake.core import leaves

Model = Callable[[Any], Any]


def named(result: Any) -> dict[str, Any]:
    """Results of a model by dotted name; a bare scalar is "value"."""
    return {name or "value": value for name, value in leaves.as_dict(result).items()}


_STATIC = ("model", "names", "mode", "split", "outputs")


@functools.partial(jax.jit, static_argnames=_STATIC)
def every_lane(base: Any, values: Any, length: Any, **static: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """All lanes of a chunk by output, and how many are invalid."""
    results, inside = _evaluate(base, values, length, **static)
    return results, jnp.sum(inside & _any_nan(results), dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames=(*_STATIC, "statistics"))
def first_pass(base: Any, values: Any, length: Any, *, statistics: tuple[str, ...], **static: Any) -> Any:
    """Partial statistics of a chunk by output, and how many lanes are invalid."""
    results, inside = _evaluate(base, values, length, **static)
    results = jax.lax.optimization_barrier(results)  # else every statistic evaluates the model again
    bad = _any_nan(results)
    partials = {name: reductions.first_pass(lanes, inside & ~bad, statistics) for name, lanes in results.items()}
    return partials, jnp.sum(inside & bad, dtype=jnp.int32)


@functools.partial(jax.jit, static_argnames=_STATIC)
def second_pass(base: Any, values: Any, length: Any, bounds: Any, **static: Any) -> dict[str, jax.Array]:
    """Counts between bounds by output."""
    results, inside = _evaluate(base, values, length, **static)
    results = jax.lax.optimization_barrier(results)
    valid = inside & ~_any_nan(results)
    return {name: reductions.second_pass(lanes, valid, *bounds[name]) for name, lanes in results.items()}


def _evaluate(
    base: Any,
    values: tuple[jax.Array, ...],
    length: Any,
    *,
    model: Model,
    names: tuple[str, ...],
    mode: Mode,
    split: int,
    outputs: tuple[str, ...],
) -> tuple[dict[str, jax.Array], jax.Array]:
    """The model on every lane of a chunk, row-major, and which lanes are no padding."""

    def scenario(*swept: jax.Array) -> dict[str, jax.Array]:
        results = named(model(leaves.replace(base, dict(zip(names, swept, strict=True)))))
        return {name: jnp.asarray(results[name]) for name in outputs}

    if mode == "zip":
        lanes = jax.vmap(scenario)(*values)
    else:
        batched = scenario
        for axis in reversed(range(split, len(names))):
            batched = jax.vmap(batched, in_axes=[0 if axis == other else None for other in range(len(names))])
        lanes = batched(*values)
    shape = jax.tree.leaves(lanes)[0].shape
    inside = jnp.arange(shape[0], dtype=jnp.int32) < length
    inside = jnp.broadcast_to(inside.reshape(-1, *(1 for _ in shape[1:])), shape)
    return jax.tree.map(jnp.ravel, lanes), jnp.ravel(inside)


def _any_nan(results: Mapping[str, jax.Array]) -> jax.Array:
    return functools.reduce(jnp.logical_or, [jnp.isnan(lanes) for lanes in results.values()])
