"""Elementary functions whose values and gradients stay finite at the edge of their domain.

Each selects a harmless argument first and the result second (a double `where`), because a single
`where` still differentiates the branch that it throws away, and 0 times infinity is NaN.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.typing import Scalar


def as_float(x: Scalar) -> jax.Array:
    """The value as a floating-point array of its own precision; integers take JAX's default.

    Example:
        >>> as_float(3).dtype == jnp.asarray(3.0).dtype
        True
    """
    return jnp.asarray(x, jnp.result_type(x, float))


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
    """Quotient, and `at_zero` with gradient 0 where the denominator is 0.

    Example:
        >>> float(safe_divide(1.0, 4.0)), float(safe_divide(1.0, 0.0))
        (0.25, 0.0)
    """
    denominator = as_float(denominator)
    zero = denominator == 0
    return jnp.where(zero, at_zero, numerator / jnp.where(zero, 1.0, denominator))


def positive_part(x: Scalar) -> jax.Array:
    """max(x, 0), with gradient 0 for x <= 0; NaN stays NaN.

    Example:
        >>> float(positive_part(-1.0)), float(positive_part(2.0))
        (0.0, 2.0)
    """
    x = as_float(x)
    return jnp.where(x <= 0, 0.0, x)
