"""Validator scores, and how likely the attestations of a panel are under them.

A score weighs three factors, each measured within an interval against the other validators and from the past alone
(`jaxstake.microstaking.scoring_factors`): performance P, tenure T and reliability R. Attestations follow a
beta-binomial law, whose overdispersion rho holds what one validator's duties have in common.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxstake.core.checks import confirm, every, is_traced, poison, require, require_domain
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE, PROPER_FRACTION, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

FACTORS = ("performance", "tenure", "reliability")
"""The columns of `factors`, in order."""

_SHIFT = 10
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_SERIES_BELOW = 0.03


@pytree
class Scoring:
    """Parameters of the model, I intervals."""

    logits: jax.Array = leaf(domain=FINITE, meaning="[2] log of the weights of T and R over that of P")
    strength: Scalar = leaf(domain=POSITIVE, meaning="k: log odds of a duty per unit of score")
    overdispersion: Scalar = leaf(
        domain=Domain(0.0, 1.0, open_low=True, open_high=True), meaning="rho: correlation of the duties of one row"
    )
    intercepts: jax.Array = leaf(domain=FINITE, meaning="[I] log odds of a duty at score 0, by interval")


@pytree
class Observations:
    """Rows of a panel, N of them: what each validator did in an interval, and its factors known before."""

    factors: jax.Array = leaf(meaning="[N, 3] performance, tenure and reliability, standardised")
    interval: jax.Array = leaf(meaning="[N] number of the interval, 0 to I - 1")
    attested: jax.Array = leaf(meaning="[N] duties performed, from 0 to `assigned`")
    assigned: jax.Array = leaf(meaning="[N] duties")


def weights(logits: jax.Array) -> jax.Array:
    """Weights (alpha, beta, gamma) of performance, tenure and reliability from two free numbers.

    Equation: `softmax(0, l_T, l_R)`, positive and adding up to 1.

    Args:
        logits: [2] log of the weights of T and R over that of P.

    Returns:
        [3] weights, fractions.

    Raises:
        ValueError: logits is not a vector of two, or is concrete and not finite.

    Example:
        >>> [round(float(weight), 3) for weight in weights(jnp.zeros(2))]
        [0.333, 0.333, 0.333]
    """
    free = as_float(logits)
    if free.shape != (2,):
        raise ValueError(f"logits must be a vector of 2, got shape {free.shape}")
    free = as_float(require_domain("logits", free, FINITE))
    return jax.nn.softmax(jnp.concatenate([jnp.zeros(1, free.dtype), free]))


def normalised(parts: jax.Array) -> jax.Array:
    """Weights that add up to 1 from any that are not negative.

    Args:
        parts: [3] weights of P, T and R in any unit, >= 0, not all 0.

    Returns:
        [3] weights, fractions.

    Raises:
        ValueError: parts is not a vector of three, or is concrete and has a negative or no positive element.

    Example:
        >>> [float(weight) for weight in normalised(jnp.array([2.0, 1.0, 1.0]))]
        [0.5, 0.25, 0.25]
    """
    parts = as_float(parts)
    if parts.shape != (3,):
        raise ValueError(f"weights must be a vector of 3, got shape {parts.shape}")
    parts = as_float(require_domain("weights", parts, NON_NEGATIVE))
    total = jnp.sum(parts)
    positive = require(total > 0, "weights must have a positive sum, got {total}", total=total)
    return parts / total * positive


def score(factors: jax.Array, *, weights: jax.Array) -> jax.Array:
    """Score of validators.

    Equation: `Score_i = alpha P_i + beta T_i + gamma R_i`.

    Args:
        factors: [..., 3] performance, tenure and reliability, standardised.
        weights: [3] alpha, beta and gamma.

    Returns:
        [...] scores, in standard deviations of a factor.

    Raises:
        ValueError: a last axis is not of length 3.

    Example:
        >>> float(score(jnp.array([2.0, 0.0, -4.0]), weights=jnp.array([0.5, 0.25, 0.25])))
        0.0
    """
    factors, parts = as_float(factors), as_float(weights)
    if factors.shape[-1:] != (3,) or parts.shape != (3,):
        raise ValueError(f"factors [..., 3] and weights [3] are needed, got {factors.shape} and {parts.shape}")
    return factors[..., 0] * parts[0] + factors[..., 1] * parts[1] + factors[..., 2] * parts[2]


def log_probability(*, attested: Scalar, assigned: Scalar, log_odds: Scalar, overdispersion: Scalar) -> jax.Array:
    """Logarithm of the beta-binomial probability of performing `attested` of `assigned` duties.

    Equation: `log C(n, m) + sum_{j<m} log(p + j t) + sum_{j<n-m} log(1-p + j t) - sum_{j<n} log(1 + j t)`, with
    `p = sigmoid(log_odds)` and `t = rho/(1 - rho)`. The variance is `n p (1-p) (1 + (n-1) rho)`; rho = 0 is the
    binomial. The sums are rising factorials, evaluated by Stirling's series so that nothing cancels as rho goes to 0:
    value and gradient are exact to rounding down to rho = 0 itself, where a ratio of gamma functions has no digit left.

    Args:
        attested: m, duties performed, from 0 to `assigned`.
        assigned: n, duties, >= 0.
        log_odds: of one duty, finite; beyond +-235 (+-29 in single precision) it counts as that, with gradient 0.
        overdispersion: rho, correlation of two duties, in [0, 1).

    Returns:
        Log probability.

    Raises:
        ValueError: a concrete value is out of range.

    Source: N. L. Johnson, A. W. Kemp and S. Kotz, Univariate Discrete Distributions, 3rd ed., section 6.2.2.

    Example:
        >>> print(f"{log_probability(attested=9.0, assigned=10.0, log_odds=2.0, overdispersion=0.1):.4f}")
        -1.3288
    """
    n = as_float(require_domain("assigned", assigned, NON_NEGATIVE))
    m = as_float(require_domain("attested", attested, NON_NEGATIVE))
    factor = require(m <= n, "attested must be at most assigned, got {attested}", attested=m)
    choose = gammaln(n + 1.0) - gammaln(m + 1.0) - gammaln(n - m + 1.0)
    rho = as_float(require_domain("overdispersion", overdispersion, PROPER_FRACTION))
    eta = as_float(require_domain("log_odds", log_odds, FINITE))
    return (choose + log_kernel(attested=m, assigned=n, log_odds=eta, overdispersion=rho)) * factor


def log_kernel(*, attested: Scalar, assigned: Scalar, log_odds: Scalar, overdispersion: Scalar) -> jax.Array:
    """`log_probability` without the binomial coefficient, which no parameter moves, and without checks.

    Arguments as for `log_probability`.

    Example:
        >>> print(f"{log_kernel(attested=1.0, assigned=1.0, log_odds=0.0, overdispersion=0.3):.4f}")
        -0.6931
    """
    m, n, eta = as_float(attested), as_float(assigned), as_float(log_odds)
    rho = as_float(overdispersion)
    tiny = float(jnp.finfo(jnp.result_type(eta)).tiny) ** (1.0 / 3.0)  # so that its inverse square is a number
    step = jnp.broadcast_to(rho / (1.0 - rho), (1, *jnp.broadcast_shapes(m.shape, n.shape, eta.shape, rho.shape)))
    yes, no = jnp.maximum(jax.nn.sigmoid(eta), tiny), jnp.maximum(jax.nn.sigmoid(-eta), tiny)
    # Stacked, because three copies of the series take three times as long to compile.
    parts = _log_rising(_stack(yes, no, jnp.ones_like(yes)), step, _stack(m, n - m, n))
    return parts[0] + parts[1] - parts[2]


def negative_log_likelihood(params: Scoring, data: Observations, weights: jax.Array | None = None) -> jax.Array:
    """Mean negative log likelihood per row, up to the binomial coefficients, which no parameter moves.

    Equation: `-sum_i w_i log BetaBinomial(attested_i; assigned_i, sigmoid(c_interval + k Score_i), rho) / sum_i w_i`.

    Args:
        params: the model.
        data: the rows; `jaxstake.microstaking.scoring_factors` makes their factors.
        weights: [N] weight of each row, >= 0, not all 0; default 1 each.

    Returns:
        Scalar loss; times the sum of the weights it is a negative log likelihood.

    Raises:
        ValueError: shapes disagree, or a concrete value is out of range.

    Example:
        >>> data = Observations(factors=jnp.zeros((1, 3)), interval=jnp.array([0]), attested=jnp.array([1.0]),
        ...                     assigned=jnp.array([1.0]))
        >>> model = Scoring(logits=jnp.zeros(2), strength=1.0, overdispersion=0.1, intercepts=jnp.zeros(1))
        >>> print(f"{negative_log_likelihood(model, data):.4f}")
        0.6931
    """
    ok = check_observations(data, weights)
    intercepts = as_float(params.intercepts)
    if not is_traced(data.interval):
        last = data.interval.max() if data.interval.size else 0
        confirm(last < intercepts.shape[0], "interval must be below the number of intercepts, got {last}", last=last)
    strength = require_domain("strength", params.strength, POSITIVE)
    rho = require_domain("overdispersion", params.overdispersion, PROPER_FRACTION)
    relative = score(data.factors, weights=_simplex(params.logits))
    log_odds = intercepts[data.interval] + strength * relative
    each = log_kernel(attested=data.attested, assigned=data.assigned, log_odds=log_odds, overdispersion=rho)
    if weights is None:
        return poison(ok, -jnp.mean(each))  # type: ignore[return-value]
    w = as_float(weights)
    return poison(ok, -jnp.sum(w * each) / jnp.sum(w))  # type: ignore[return-value]


def check_observations(data: Observations, weights: jax.Array | None = None) -> jax.Array | bool:
    """Whether rows can be used: shapes now, values now or (traced) as the condition that is returned.

    Raises:
        ValueError: there is no row, shapes disagree, or a concrete value is out of range.
    """
    rows = data.attested.shape
    if len(rows) != 1 or rows[0] == 0:
        raise ValueError(f"attested must be a vector [N] with at least one row, got shape {rows}")
    for name, shape in (("assigned", data.assigned.shape), ("interval", data.interval.shape)):
        if shape != rows:
            raise ValueError(f"{name} must have the shape of attested {rows}, got shape {shape}")
    if data.factors.shape != (*rows, 3):
        raise ValueError(f"factors must have shape {(*rows, 3)}, got {data.factors.shape}")
    if weights is not None and weights.shape != rows:
        raise ValueError(f"weights must have the shape of attested {rows}, got shape {weights.shape}")
    bounded = (data.attested >= 0) & (data.attested <= data.assigned)
    conditions = [
        confirm(bounded, "attested must be in [0, assigned], got {attested}", attested=data.attested),
        confirm(jnp.isfinite(data.factors), "factors must be finite, got {factors}", factors=data.factors),
        confirm(data.interval >= 0, "interval must be at least 0, got {interval}", interval=data.interval),
    ]
    if weights is not None:
        conditions.append(confirm(weights >= 0, "weights must be at least 0, got {weights}", weights=weights))
        conditions.append(confirm(jnp.sum(weights) > 0, "weights must have a positive sum"))
    return every(*(ok if ok is True else jnp.all(ok) for ok in conditions))


def _simplex(logits: jax.Array) -> jax.Array:
    return weights(logits)


def _stack(*parts: jax.Array) -> jax.Array:
    shape = jnp.broadcast_shapes(*(part.shape for part in parts))
    return jnp.stack([jnp.broadcast_to(part, shape) for part in parts])


def _log_rising(start: jax.Array, step: jax.Array, count: jax.Array) -> jax.Array:
    """`sum_{j<count} log(start + j step)` for start > 0, step >= 0 and real count >= 0.

    The start is moved up by ten steps, where Stirling's series is exact to rounding: with `q = start + 10 step`,
    `x = count step/q`, `y = step/q`, it is `count (log q + log1p(x)/x - 1) + (count - 1/2) log1p(x)`
    `+ S(y/(1+x)) - S(y)` plus the logarithm of the ten ratios `(start + j step)/(start + (count + j) step)`.
    """
    moved = start + _SHIFT * step
    x, y = count * step / moved, step / moved
    body = count * (jnp.log(moved) + _log1p_over_less_one(x)) + (count - 0.5) * jnp.log1p(x)
    first = jnp.log(start) - jnp.log(start + count * step)
    low, high = _products(start / moved, y)
    low_end, high_end = _products(start / moved + x, y)
    ratios = jnp.log(low / low_end) + jnp.log(high / high_end)
    return body + _stirling(y / (1.0 + x)) - _stirling(y) + first + ratios


def _products(start: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Products of `start + j step` for j from 1 to 4 and from 5 to 9, in pairs whose j have the same sum."""
    square, cross = step * step, start * step
    low, high = start * start + 5.0 * cross, start * start + 14.0 * cross
    last = (high + 45.0 * square) * (high + 48.0 * square) * (start + 7.0 * step)
    return (low + 4.0 * square) * (low + 6.0 * square), last


def _log1p_over_less_one(x: jax.Array) -> jax.Array:
    """`log1p(x)/x - 1`, by its series near 0."""
    near = x < _SERIES_BELOW
    small, large = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    series = jnp.zeros_like(x)
    for power in range(10, 0, -1):
        series = small * ((-1.0) ** power / (power + 1.0) + series)
    return jnp.where(near, series, jnp.log1p(large) / large - 1.0)


def _stirling(y: jax.Array) -> jax.Array:
    """Stirling's remainder `log Gamma(z) - (z - 1/2) log z + z - log(2 pi)/2` at `z = 1/y`, y <= 1/10."""
    total = jnp.zeros_like(y)
    for coefficient in reversed(_STIRLING):
        total = total * (y * y) + coefficient
    return total * y
