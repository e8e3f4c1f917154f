"""Elementary functions whose values and gradients stay finite at the edge of their domain.

Each selects a harmless argument first and the result second (a double `where`), because a single
`where` still differentiates the branch that it throws away, and 0 times infinity is NaN.
"""

from __future__ import annotations

import functools
import math
from typing import Any

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


def keep_where(condition: jax.Array | bool, value: Scalar, *, otherwise: float) -> jax.Array:
    """The value where the condition holds, else `otherwise` (0 or NaN) times it; value and gradient alike.

    Example:
        >>> float(keep_where(2 > 1, 3.0, otherwise=0.0)), float(keep_where(2 < 1, 3.0, otherwise=jnp.nan))
        (3.0, nan)
    """
    return _keep_where(condition, as_float(value), otherwise)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _keep_where(condition: jax.Array | bool, value: jax.Array, otherwise: float) -> jax.Array:
    return value * jnp.where(condition, 1.0, otherwise)


@_keep_where.defjvp
def _keep_where_jvp(otherwise: float, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """The same, with the factor as its own square root.

    XLA on a CPU evaluates what it deems cheap again in every consumer, with all that a condition depends on, but a
    square root only once. A gradient has a consumer per leaf, and so costs half; a value alone has one.
    """
    condition, value = primals
    factor = jnp.sqrt(jnp.where(condition, 1.0, otherwise))
    return value * factor, tangents[1] * factor


def expm1_ratio(x: Scalar) -> jax.Array:
    """`(exp(x) - 1) / x`, and 1 at 0, with all derivatives; infinity stays so.

    Example:
        >>> print(f"{expm1_ratio(0.0):.1f} {expm1_ratio(1.0):.4f} {jax.grad(expm1_ratio)(0.0):.2f}")
        1.0 1.7183 0.50
    """
    x = as_float(x)
    small, endless = jnp.abs(x) < _SMALL, x == jnp.inf
    away = jnp.where(small | endless, 1.0, x)
    near = jnp.where(small, x, 0.0)
    return jnp.where(endless, x, jnp.where(small, _series(near, _EXPM1_TERMS), jnp.expm1(away) / away))


def log1p_ratio(x: Scalar) -> jax.Array:
    """`ln(1 + x) / x` for x > -1, and 1 at 0, with all derivatives.

    Example:
        >>> print(f"{log1p_ratio(0.0):.1f} {log1p_ratio(1.0):.4f} {jax.grad(log1p_ratio)(0.0):.2f}")
        1.0 0.6931 -0.50
    """
    x = as_float(x)
    small = jnp.abs(x) < _SMALL
    away = jnp.where(small, 1.0, x)
    near = jnp.where(small, x, 0.0)
    return jnp.where(small, _series(near, _LOG1P_TERMS), jnp.log1p(away) / away)


def normal_cdf(x: Scalar) -> jax.Array:
    """Chance that a standard normal number is at most x, to full relative precision below.

    Equation: `erfc(-x / sqrt(2)) / 2`, a fifth of the time of `jax.scipy.special.ndtr`.

    Example:
        >>> print(f"{normal_cdf(0.0):.2f} {normal_cdf(1.0):.4f}")
        0.50 0.8413
    """
    return 0.5 * jax.scipy.special.erfc(-math.sqrt(0.5) * as_float(x))


_SMALL = 0.02
"""Below it a series of nine terms is exact in double precision, and so are its first derivatives."""
_EXPM1_TERMS = tuple(1.0 / math.factorial(k + 1) for k in range(9))
_LOG1P_TERMS = tuple((-1.0) ** k / (k + 1) for k in range(9))


def _series(x: jax.Array, terms: tuple[float, ...]) -> jax.Array:
    """A polynomial by Horner's rule, lowest term first."""
    total = jnp.full_like(x, terms[-1])
    for term in reversed(terms[:-1]):
        total = total * x + term
    return total
