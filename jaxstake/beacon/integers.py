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


def sums(*operands: jax.Array) -> tuple[jax.Array, ...]:
    """Sums of arrays of one shape, each in its own type, in one pass over all of them.

    On the CPU, XLA stores the operand of a single sum before it adds it up, but not those of a sum of several: five
    masked sums over a million validators take 1 ms this way and 18 ms one by one.
    """
    zeros = tuple(np.zeros((), operand.dtype)[()] for operand in operands)
    return tuple(jax.lax.reduce(operands, zeros, _add_pairs, range(operands[0].ndim)))


def total(values: jax.Array) -> jax.Array:
    """Sum of an array [V] in its own type; in two halves at once, for the reason that `sums` gives."""
    half, rest = divmod(values.shape[0], 2)
    left, right = sums(values[:half], values[half : 2 * half])
    return left + right + (values[-1] if rest else 0)


def masked_sum(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Sum of the values [V] where the mask holds, in their own type."""
    return total(jnp.where(mask, values, 0))


def count(mask: jax.Array) -> jax.Array:
    """How many elements of a mask [V] hold, as uint64."""
    return total(mask.astype(jnp.uint64))


def _add_pairs(left: tuple[jax.Array, ...], right: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def first(mask: jax.Array) -> jax.Array:
    """Position of the first element that holds, the length if none does, as uint64."""
    places = jnp.arange(mask.shape[0], dtype=jnp.uint64)
    return jnp.min(jnp.where(mask, places, mask.shape[0]), initial=np.uint64(mask.shape[0]))
