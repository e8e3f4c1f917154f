"""Arithmetic of unsigned 64-bit integers as the specification means it, and the check that they exist."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

NEVER = np.uint64(2**64 - 1)
"""`FAR_FUTURE_EPOCH`: an event that is not scheduled."""


def require_x64() -> None:
    """Raise unless JAX computes with 64-bit integers; without them 32 ETH in Gwei wraps to another number.

    Raises:
        ValueError: the setting `jax_enable_x64` is off.
    """
    if jnp.result_type(int) != jnp.int64:
        raise ValueError(
            "the exact engine needs 64-bit integers, but jax_enable_x64 is off, so that 32000000000 Gwei would wrap to "
            "1935228928; call jax.config.update('jax_enable_x64', True) first"
        )


def saturating_subtract(a: jax.Array, b: jax.Array) -> jax.Array:
    """`max(a - b, 0)` without passing below zero, as `decrease_balance` (phase 0)."""
    return jnp.where(b > a, 0, a - b)


def ceil_divide(a: jax.Array, b: jax.Array | int) -> jax.Array:
    """`a / b` rounded up, for b > 0; 0 for a = 0, and no overflow near the largest integer."""
    return jnp.where(a == 0, 0, (jnp.maximum(a, 1) - 1) // b + 1)


def integer_squareroot(n: jax.Array) -> jax.Array:
    """The largest x with x*x <= n, for every uint64.

    The square root of a float is off by one near squares above 2^52, so it is corrected a step each way.

    Source: `integer_squareroot` (phase 0).
    """
    largest = 2**32 - 1
    x = jnp.minimum(jnp.sqrt(n.astype(jnp.float64)).astype(jnp.uint64), largest)
    x = jnp.where(x * x > n, x - 1, x)
    up = jnp.minimum(x + 1, largest)
    return jnp.where(up * up <= n, up, x)


def masked_sum(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Sum of the values where the mask holds, in their own type."""
    return jnp.sum(jnp.where(mask, values, 0), dtype=values.dtype)


def count(mask: jax.Array) -> jax.Array:
    """How many elements hold, as uint64."""
    return jnp.sum(mask, dtype=jnp.uint64)


def first(mask: jax.Array) -> jax.Array:
    """Position of the first element that holds, the length if none does, as uint64."""
    places = jnp.arange(mask.shape[0], dtype=jnp.uint64)
    return jnp.min(jnp.where(mask, places, mask.shape[0]), initial=np.uint64(mask.shape[0]))
