"""Numbers computed once, on a CPU, and not anew for every element that reads them."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.numerics import as_float

T = TypeVar("T")


def kept(values: jax.Array) -> jax.Array:
    """The same values and gradients through a reduction, which XLA on a CPU does not fuse into what reads them.

    Otherwise it evaluates a scalar with all that it depends on for every element of an array: twice the time of a
    simulation, four times that of a transform.
    """
    first = (np.arange(2) == 0).reshape(2, *[1] * values.ndim)
    return jnp.max(jnp.where(first, values[None], -jnp.inf), axis=0)


def kept_leaves(container: T) -> T:
    """The container with each leaf kept; Python numbers, which are constants, as they are."""
    return jax.tree.map(lambda x: x if isinstance(x, int | float) else kept(as_float(x)), container)


@jax.custom_jvp
def stored(values: jax.Array) -> jax.Array:
    """The same values and gradients, once in memory, for a CPU.

    Otherwise XLA computes them anew for every shift that reads them. In a loop over rows it does not, but a loop's body
    stays on one core. So this is a loop over nothing, of one turn, whose number XLA cannot foresee.
    """
    first = (0,) * values.ndim
    turns = jnp.where(jnp.isnan(values[first]), 0, 1)
    return jax.lax.fori_loop(0, turns, lambda _, held: held.at[first].add(jnp.zeros((), held.dtype)), values)


@stored.defjvp
def _stored_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return stored(primals[0]), tangents[0]
