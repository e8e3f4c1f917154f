"""How evenly stake is spread over operators: entropy, Herfindahl index, Gini and Nakamoto coefficients.

Every function takes the stakes `[O]` of operators in any one unit. A row may stand for a group: `counts` `[O]` says
how many equal operators share its stake, so that "43,853 small owners" is one row. An operator without stake is no
operator: such a row contributes nothing and is not counted, and its gradient is finite.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.numerics import as_float, safe_divide, safe_log
from jaxstake.core.typing import Scalar


def shares(stakes: jax.Array) -> jax.Array:
    """Share of each row in the total stake.

    Equation: `p_i = w_i / sum(w)`.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.

    Returns:
        [O] shares, fractions that add up to 1.

    Raises:
        ValueError: stakes is not a vector, or is concrete and has a negative or no positive element.

    Example:
        >>> [float(p) for p in shares(jnp.array([3.0, 1.0]))]
        [0.75, 0.25]
    """
    weights = as_float(stakes)
    if weights.ndim != 1:
        raise ValueError(f"stakes must be a vector [O], got shape {weights.shape}")
    weights = as_float(require_domain("stakes", weights, NON_NEGATIVE))
    total = jnp.sum(weights)
    return weights / total * require(total > 0, "stakes must have a positive sum, got {total}", total=total)


def entropy_nats(stakes: jax.Array, counts: jax.Array | None = None) -> jax.Array:
    """Shannon entropy of the stake over operators, nats.

    Equation: `H = -sum(p_i ln(p_i / c_i))`, which is `-sum(p ln p)` over the single operators of every group.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.

    Returns:
        Entropy, from 0 (one operator) to `ln n` (n equal ones).

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Source: C. E. Shannon, Bell System Technical Journal 27 (1948) 379-423.

    Example:
        >>> print(f"{entropy_nats(jnp.array([8.0]), jnp.array([4.0])):.4f}")
        1.3863
    """
    p, c = _rows(stakes, counts)
    return -jnp.sum(p * safe_log(p / c))


def entropy_bits(stakes: jax.Array, counts: jax.Array | None = None) -> jax.Array:
    """Shannon entropy of the stake over operators, bits: `entropy_nats / ln 2`, with the same arguments and errors.

    Example:
        >>> print(f"{entropy_bits(jnp.array([1.0, 1.0, 1.0, 1.0])):.4f}")
        2.0000
    """
    return entropy_nats(stakes, counts) / math.log(2.0)


def normalised_entropy(stakes: jax.Array, counts: jax.Array | None = None) -> jax.Array:
    """Entropy over its largest value, from 0 to 1.

    Equation: `H / ln n`, n the number of operators with stake; 0 if there is only one.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Example:
        >>> print(f"{normalised_entropy(jnp.array([5.0, 5.0, 5.0])):.4f}")
        1.0000
    """
    p, c = _rows(stakes, counts)
    entropy = -jnp.sum(p * safe_log(p / c))
    return safe_divide(entropy, jnp.log(_number(p, c)))


def herfindahl(stakes: jax.Array, counts: jax.Array | None = None) -> jax.Array:
    """Herfindahl-Hirschman index: the chance that two ether drawn at random belong to one operator.

    Equation: `HHI = sum(p_i^2 / c_i)`.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.

    Returns:
        Index, from `1/n` (n equal operators) to 1 (one operator).

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Source: A. O. Hirschman, American Economic Review 54 (1964) 761-762.

    Example:
        >>> print(f"{herfindahl(jnp.array([3.0, 1.0])):.4f}")
        0.6250
    """
    p, c = _rows(stakes, counts)
    return jnp.sum(p * p / c)


def effective_number(stakes: jax.Array, counts: jax.Array | None = None) -> jax.Array:
    """Number of equal operators that are as concentrated: `1 / HHI`, from 1 to n.

    Arguments and errors as `herfindahl`.

    Source: M. O. Hill, Ecology 54 (1973) 427-432, number of order 2.

    Example:
        >>> print(f"{effective_number(jnp.array([3.0, 1.0])):.4f}")
        1.6000
    """
    return 1.0 / herfindahl(stakes, counts)


def gini(stakes: jax.Array, counts: jax.Array | None = None) -> jax.Array:
    """Gini coefficient of the stake per operator.

    Equation: `G = 1 - sum((L_i + L_{i-1}) c_i) / n`, `L` the cumulated shares from the smallest operator up: twice the
    area between the Lorenz curve and the diagonal.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.

    Returns:
        Coefficient, from 0 (equal) to `1 - 1/n` (one operator holds nearly all).

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Example:
        >>> print(f"{gini(jnp.array([1.0, 3.0])):.4f}")
        0.2500
    """
    p, c = _rows(stakes, counts)
    order = jnp.argsort(p / c)
    p, present = p[order], jnp.where(p > 0, c, 0.0)[order]
    cumulated = jnp.cumsum(p)
    return 1.0 - jnp.sum((2.0 * cumulated - p) * present) / jnp.sum(present)


def nakamoto_interpolated(stakes: jax.Array, counts: jax.Array | None = None, *, theta: Scalar = 1 / 3) -> jax.Array:
    """Nakamoto coefficient as a number with a fraction, continuous and differentiable in stakes and theta.

    Equation: `(k-1) + (theta - C_{k-1}) / p_k`, `k` the first operator, from the largest down, with which the cumulated
    share `C` reaches theta. Its ceiling is `nakamoto`.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.
        theta: share to reach, in (0, 1].

    Returns:
        Number of operators, in (0, n].

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Example:
        >>> print(f"{nakamoto_interpolated(jnp.array([2.0, 1.0, 1.0]), theta=0.6):.4f}")
        1.4000
    """
    theta = require_domain("theta", theta, POSITIVE_FRACTION)
    p, c = _rows(stakes, counts)
    order = jnp.argsort(-p / c)
    p, c = p[order], c[order]
    share, number = jnp.cumsum(p), jnp.cumsum(c)
    last = jnp.sum(jnp.where(p > 0, 1, 0)) - 1  # the cumulated share may round to less than a theta of 1
    row = jnp.minimum(jnp.sum(jnp.where(share < theta, 1, 0)), jnp.maximum(last, 0))
    share_before, number_before = share[row] - p[row], number[row] - c[row]
    return number_before + (theta - share_before) * c[row] / p[row]


def nakamoto(stakes: jax.Array, counts: jax.Array | None = None, *, theta: Scalar = 1 / 3) -> jax.Array:
    """Nakamoto coefficient: the smallest number of operators who together hold the share theta.

    Shares within 64 rounding units of theta count as reaching it, so that three of nine equal operators hold a third.

    Args:
        stakes: [O] stake of each row, any unit, >= 0, not all 0.
        counts: [O] equal operators that share it, > 0; default 1 each.
        theta: share to reach, in (0, 1]: 1/3 stops finality, 1/2 wins the fork choice, 2/3 finalises alone.

    Returns:
        Whole number as a float, a step function without gradient (`nakamoto_interpolated` has one).

    Raises:
        ValueError: a shape is wrong, or a concrete value is out of range.

    Source: B. S. Srinivasan and L. Lee, "Quantifying Decentralization" (2017).

    Example:
        >>> [float(nakamoto(jnp.array([4.0, 3.0, 2.0, 1.0]), theta=theta)) for theta in (1 / 3, 1 / 2, 2 / 3)]
        [1.0, 2.0, 2.0]
    """
    number = nakamoto_interpolated(stakes, counts, theta=theta)
    rounding = 64.0 * float(jnp.finfo(number.dtype).eps)
    return jnp.ceil(number - rounding * jnp.maximum(number, 1.0))


def _rows(stakes: jax.Array, counts: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Shares and counts of the rows, checked."""
    p = shares(stakes)
    if counts is None:
        return p, jnp.ones_like(p)
    c = as_float(counts)
    if c.shape != p.shape:
        raise ValueError(f"counts must have the shape of stakes {p.shape}, got shape {c.shape}")
    return p, as_float(require_domain("counts", c, POSITIVE))


def _number(p: jax.Array, c: jax.Array) -> jax.Array:
    """Operators with stake."""
    return jnp.sum(jnp.where(p > 0, c, 0.0) + 0.0 * p)  # a bad share stays bad
