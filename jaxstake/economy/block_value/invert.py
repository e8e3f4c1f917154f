"""Quantiles of families whose cdf has no inverse in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FRACTION, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.solve import solve_bracketed
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value.interface import log_cdf, log_survival

MARGIN = 1e-3
"""Added on either side of a bracket, in the logarithm, against the rounding of its ends."""


def require_levels(level: Scalar) -> jax.Array:
    """Levels of `tail_mean`, in [0, 1)."""
    return as_float(require_domain("level", level, PROPER_FRACTION))


def solve_quantile(
    distribution: Any, *, level: Scalar, bracket: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
) -> jax.Array:
    """Quantiles by a bracketed search in the logarithm of the value, with the implicit derivative.

    The smaller of the two chances, below and above, is matched in its logarithm, so that both tails keep their digits.

    Args:
        distribution: a family with `log_cdf` and `log_survival`.
        level: in [0, 1]; any shape. 0 at level 0, infinite at 1, with gradient 0 there.
        bracket: of a level strictly inside: logarithms between which the quantile lies.

    Raises:
        ValueError: a concrete level is out of range.
    """
    level = as_float(require_domain("level", level, FRACTION))
    lowest, highest = level <= 0, level >= 1
    inner = jnp.where(lowest | highest, 0.5, level)

    def solve(one: jax.Array) -> jax.Array:
        low, high = bracket(jax.lax.stop_gradient(one))
        below = one < 0.5

        def gap(log_value: jax.Array) -> jax.Array:
            value = jnp.exp(log_value)
            under = log_cdf(distribution, value=value) - jnp.log(one)
            over = jnp.log1p(-one) - log_survival(distribution, value=value)
            return jnp.where(below, under, over)

        return jnp.exp(solve_bracketed(gap, low=low - MARGIN, high=high + MARGIN).value)

    found = jnp.vectorize(solve)(inner)
    return jnp.where(lowest, 0.0, jnp.where(highest, jnp.inf, found))
