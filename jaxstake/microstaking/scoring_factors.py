"""The three factors of a score from a panel: performance, tenure and reliability, from the past alone.

A panel is a matrix of duties [V, T], V validators over T intervals in order; 0 duties mean that a validator is absent.
What a row predicts, its own interval, is in none of its factors. Intervals in which too many validators did badly say
something about the network and not about them: they are incidents, left out on both sides.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require
from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

BAD_RATE = 0.9
"""Share of duties performed below which an interval of a validator is bad."""
INCIDENT_SHARE = 0.2
"""Share of bad validators above which an interval is an incident."""
LEAST_PAST = 3
"""Past intervals without which a validator has no factors yet."""
SMALLEST_DEVIATION = 1e-3
"""Added in quadrature to a standard deviation of rates: half a missed duty in 450."""


@pytree
class Factors:
    """Factors of every validator in every interval."""

    values: jax.Array = leaf(meaning="[V, T, 3] performance, tenure, reliability, standardised within the interval")
    usable: jax.Array = leaf(meaning="[V, T] present, with enough past, in an interval that is no incident")
    bad: jax.Array = leaf(meaning="[V, T] whether the rate is below the bad rate")
    incident: jax.Array = leaf(meaning="[T] whether the interval is an incident")


def past_factors(
    attested: jax.Array,
    assigned: jax.Array,
    *,
    times: jax.Array | None = None,
    bad_rate: Scalar = BAD_RATE,
    incident_share: Scalar = INCIDENT_SHARE,
    least_past: int = LEAST_PAST,
    reliability: Literal["deviation", "bad share"] = "deviation",
) -> Factors:
    """Factors of a panel over time.

    Equation: with `x_s` the rate of a validator minus the median of its interval s, over its past intervals s < t that
    are no incident: `P = mean(x_s)`, `T = log(1 + t - first)`, `R = -log sqrt(var(x_s) + 0.001^2)` or minus the share
    of bad intervals. Then minus the median and over the standard deviation within the interval.

    Args:
        attested: [V, T] duties performed.
        assigned: [V, T] duties, 0 where a validator is absent.
        times: [T] numbers of the intervals, increasing; default 0, 1, ...
        bad_rate: rate below which an interval is bad.
        incident_share: share of bad validators above which an interval is an incident.
        least_past: past intervals that a validator needs, > 0.
        reliability: "deviation" of the relative rate, or "bad share".

    Returns:
        `Factors`; a factor that does not vary within an interval is 0 there.

    Raises:
        ValueError: shapes disagree, or concrete duties performed are not in [0, duties].

    Example:
        >>> attested = jnp.array([[9.0, 10.0, 10.0], [5.0, 6.0, 10.0], [10.0, 10.0, 2.0]])
        >>> found = past_factors(attested, jnp.full((3, 3), 10.0), bad_rate=0.1, least_past=2)
        >>> found.usable[:, 2].tolist(), bool(found.values[1, 2, 0] < found.values[0, 2, 0])
        ([True, True, True], True)
    """
    done, duties = _panel(attested, assigned)
    present = duties > 0
    rate = safe_divide(done, duties)
    bad = present & (rate < bad_rate)
    incident = _incident(bad, present, incident_share)
    counted = present & ~incident[None, :]
    relative = jnp.where(counted, rate - _median(rate, present)[None, :], 0.0)
    number = _before(as_float(counted))
    mean = safe_divide(_before(relative), number)
    variance = jnp.maximum(safe_divide(_before(relative * relative), number) - mean * mean, 0.0)
    if reliability == "deviation":
        steady = -0.5 * jnp.log(variance + SMALLEST_DEVIATION**2)
    elif reliability == "bad share":
        steady = -safe_divide(_before(as_float(bad & counted)), number)
    else:
        raise ValueError(f"reliability must be 'deviation' or 'bad share', got '{reliability}'")
    clock = jnp.arange(duties.shape[1]).astype(rate.dtype) if times is None else as_float(times).astype(rate.dtype)
    tenure = jnp.log1p(jnp.maximum(clock[None, :] - clock[jnp.argmax(present, axis=1)][:, None], 0.0))
    usable = counted & (number >= least_past)
    raw = jnp.stack([mean, tenure, steady], axis=-1)
    return Factors(values=standardised(raw, usable), usable=usable, bad=bad, incident=incident)


def sibling_factors(
    attested: jax.Array,
    assigned: jax.Array,
    operator: jax.Array,
    *,
    operators: int,
    bad_rate: Scalar = BAD_RATE,
    least_siblings: int = 2,
) -> Factors:
    """Factors of a single interval, where there is no past: from the other validators of the same operator.

    Equation: with `x_j` the rate of a sibling minus the median: `P = mean(x_j)`, `R = -log sqrt(var(x_j) + 0.001^2)`;
    `T = log(1 + duties)` of the validator itself, because later entrants have fewer duties in the interval. Then
    standardised. A validator's own rate is in none of its factors; it pulls those of its siblings towards it.

    Args:
        attested: [V] duties performed.
        assigned: [V] duties.
        operator: [V] number of the operator, 0 to `operators` - 1.
        operators: how many there are.
        bad_rate: rate below which a validator did badly.
        least_siblings: others of its operator that a validator needs, > 0.

    Returns:
        `Factors` with T = 1. One interval is never an incident.

    Raises:
        ValueError: shapes disagree, or concrete duties performed are not in [0, duties].

    Example:
        >>> found = sibling_factors(jnp.array([9.0, 10.0, 8.0, 3.0]), jnp.full(4, 10.0), jnp.array([0, 0, 0, 1]),
        ...                         operators=2)
        >>> found.usable[:, 0].tolist()
        [True, True, True, False]
    """
    done, duties = _panel(jnp.asarray(attested)[:, None], jnp.asarray(assigned)[:, None])
    done, duties = done[:, 0], duties[:, 0]
    present = duties > 0
    rate = safe_divide(done, duties)
    relative = jnp.where(present, rate - _median(rate[:, None], present[:, None])[0], 0.0)

    def of_others(own: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(own, operator, operators)[operator] - own

    number = of_others(as_float(present))
    mean = safe_divide(of_others(relative), number)
    variance = jnp.maximum(safe_divide(of_others(relative * relative), number) - mean * mean, 0.0)
    usable = (present & (number >= least_siblings))[:, None]
    raw = jnp.stack([mean, jnp.log1p(duties), -0.5 * jnp.log(variance + SMALLEST_DEVIATION**2)], axis=-1)[:, None, :]
    bad = (present & (rate < bad_rate))[:, None]
    return Factors(values=standardised(raw, usable), usable=usable, bad=bad, incident=jnp.zeros(1, bool))


def standardised(raw: jax.Array, usable: jax.Array) -> jax.Array:
    """Factors minus their median and over their standard deviation within each interval, over the usable rows.

    Args:
        raw: [V, T, F] factors.
        usable: [V, T] rows that count.

    Returns:
        [V, T, F]; 0 in other rows, and where a factor does not vary by more than rounding.

    Example:
        >>> column = standardised(jnp.array([[[1.0]], [[2.0]], [[3.0]]]), jnp.ones((3, 1), bool))
        >>> [f"{x:.3f}" for x in column[:, 0, 0]]
        ['-1.225', '0.000', '1.225']
    """
    mask = usable[:, :, None]
    number = jnp.maximum(jnp.sum(jnp.where(mask, 1.0, 0.0), axis=0), 1.0).astype(raw.dtype)
    mean = jnp.sum(jnp.where(mask, raw, 0.0), axis=0) / number
    apart = jnp.where(mask, raw - mean[None], 0.0)
    variance = jnp.sum(apart * apart, axis=0) / number
    least = 64.0 * jnp.finfo(raw.dtype).eps * jnp.maximum(jnp.max(jnp.abs(jnp.where(mask, raw, 0.0)), axis=0), 1e-3)
    varies = variance > least * least
    deviation = jnp.sqrt(jnp.where(varies, variance, 1.0))
    middle = jax.vmap(_median, in_axes=(2, None), out_axes=1)(raw, usable)
    return jnp.where(mask & varies[None], (raw - middle[None]) / deviation[None], 0.0)


def _panel(attested: jax.Array, assigned: jax.Array) -> tuple[jax.Array, jax.Array]:
    done, duties = as_float(attested), as_float(assigned)
    if done.ndim != 2 or done.shape != duties.shape:
        raise ValueError(f"attested and assigned must have one shape, got {done.shape} and {duties.shape}")
    ok = (done >= 0) & (done <= duties)
    done, duties = jnp.asarray(done, done.dtype), jnp.asarray(duties, duties.dtype)  # no longer weakly typed
    return done * require(ok, "attested must be in [0, assigned], got {attested}", attested=done), duties


def _incident(bad: jax.Array, present: jax.Array, share: Scalar) -> jax.Array:
    """[T] whether the share of bad validators among those present exceeds the limit."""
    return jnp.sum(as_float(bad), axis=0) > share * jnp.sum(as_float(present), axis=0)


def _median(values: jax.Array, mask: jax.Array) -> jax.Array:
    """[T] median over the rows that count; 0 without any."""
    ordered = jnp.sort(jnp.where(mask, values, jnp.inf), axis=0)
    number = jnp.sum(jnp.where(mask, 1, 0), axis=0)
    lower, upper = jnp.maximum((number - 1) // 2, 0), number // 2
    last = values.shape[0] - 1
    pair = [jnp.take_along_axis(ordered, jnp.minimum(at, last)[None, :], axis=0)[0] for at in (lower, upper)]
    return jnp.where(number > 0, 0.5 * (pair[0] + pair[1]), 0.0)


def _before(values: jax.Array) -> jax.Array:
    """[V, T] sums over earlier intervals; the own one enters not even by its rounding."""
    return jnp.concatenate([jnp.zeros_like(values[:, :1]), jnp.cumsum(values, axis=1)[:, :-1]], axis=1)
