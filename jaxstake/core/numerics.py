"""Elementary functions whose values and gradients stay finite at the edge of their domain.

Each selects a harmless argument first and the result second (a double `where`), because a single
`where` still differentiates the branch that it throws away, and 0 times infinity is NaN.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.typing import Scalar


def as_float(x: Scalar) -> jax.Array:
    """The value as a floating-point array of its own precision; integers and booleans take JAX's default.

    A Python number stays weakly typed: it adopts the precision of the array that it meets.

    Example:
        >>> as_float(3).dtype == jnp.asarray(3.0).dtype, as_float(3).weak_type
        (True, True)
    """
    if isinstance(x, int):
        return jnp.asarray(float(x))
    array = jnp.asarray(x)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array
    return array * 1.0 if array.weak_type else array.astype(float)


def safe_sqrt(x: Scalar) -> jax.Array:
    """Square root for x > 0, and 0 with gradient 0 for x <= 0; NaN stays NaN.

    Example:
        >>> float(safe_sqrt(4.0)), float(jax.grad(safe_sqrt)(0.0))
        (2.0, 0.0)
    """
    x = as_float(x)
    outside = x <= 0
    return jnp.where(outside, 0.0, jnp.sqrt(jnp.where(outside, 1.0, x)))


def safe_log(x: Scalar, *, at_zero: float = 0.0) -> jax.Array:
    """Natural logarithm for x > 0, and `at_zero` with gradient 0 for x <= 0; NaN stays NaN.

    Example:
        >>> float(safe_log(1.0)), float(safe_log(0.0, at_zero=-5.0)), float(jax.grad(safe_log)(0.0))
        (0.0, -5.0, 0.0)
    """
    x = as_float(x)
    outside = x <= 0
    return jnp.where(outside, at_zero, jnp.log(jnp.where(outside, 1.0, x)))


def safe_divide(numerator: Scalar, denominator: Scalar, *, at_zero: float = 0.0) -> jax.Array:
    """Quotient, and `at_zero` with gradient 0 where the denominator is 0; NaN stays NaN.

    Example:
        >>> float(safe_divide(1.0, 4.0)), float(safe_divide(1.0, 0.0))
        (0.25, 0.0)
    """
    numerator, denominator = as_float(numerator), as_float(denominator)
    zero = denominator == 0
    quotient = numerator / jnp.where(zero, 1.0, denominator)
    return jnp.where(zero & ~jnp.isnan(numerator), at_zero, quotient)


def positive_part(x: Scalar) -> jax.Array:
    """max(x, 0), with gradient 0 for x <= 0; NaN stays NaN.

    Example:
        >>> float(positive_part(-1.0)), float(positive_part(2.0))
        (0.0, 2.0)
    """
    x = as_float(x)
    return jnp.where(x <= 0, 0.0, x)


def indicator(condition: jax.Array | bool, *, otherwise: float) -> jax.Array:
    """1 where the condition holds, else 0 or NaN as `otherwise` says, to multiply with.

    It is the square root of itself, and taken as such: XLA on a CPU evaluates whatever it deems cheap again in every
    consumer, here with all that the condition depends on, but a square root only once. Gradients then cost half.

    Example:
        >>> float(indicator(2 > 1, otherwise=0.0)), float(indicator(2 < 1, otherwise=0.0))
        (1.0, 0.0)
    """
    return jnp.sqrt(jnp.where(condition, 1.0, otherwise))
