"""How long operators stay: the hazard of leaving by tenure, from who is present in which interval.

Whether a member that is absent has left shows only later, so that the last interval counts nobody at risk. One that
is present in the first interval may have come before, so that its tenure is unknown and it is left out.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Hazard:
    """Leaving by tenure, D intervals of it."""

    at_risk: jax.Array = leaf(meaning="[D] members of that tenure of whom a later interval is seen")
    exits: jax.Array = leaf(meaning="[D] those not seen in any later one")
    hazard: jax.Array = leaf(meaning="[D] chance to leave, NaN where nobody is at risk")
    low: jax.Array = leaf(meaning="[D] lower end of its interval")
    high: jax.Array = leaf(meaning="[D] upper end")
    survival: jax.Array = leaf(meaning="[D] chance to stay beyond that tenure")
    left_out: jax.Array = leaf(meaning="members of unknown tenure, present in the first interval")


def exit_hazard(present: jax.Array, *, z: Scalar = 1.959964) -> Hazard:
    """Hazard of leaving for good by tenure, with Wilson's interval, and the survival of Kaplan and Meier.

    Equation: `h_d = exits_d / at_risk_d`, `S_d = prod_{e<=d} (1 - h_e)`. A member of tenure d, intervals since it was
    first seen, is at risk in every interval in which it is present but the last; it leaves there if it is never seen
    again. An absence that ends is no exit.

    Args:
        present: [V, T] whether each member is seen in each interval, in order.
        z: half width of the interval in standard errors, > 0.

    Returns:
        `Hazard`, with D = T - 1.

    Raises:
        ValueError: present is no matrix of two intervals or more.

    Source: E. L. Kaplan and P. Meier, J. Am. Stat. Assoc. 53 (1958) 457-481; E. B. Wilson, ibid. 22 (1927) 209-212.

    Example:
        >>> seen = jnp.array([[0, 1, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]])
        >>> found = exit_hazard(seen)
        >>> found.exits.tolist(), found.at_risk.tolist(), float(found.hazard[0])
        ([1.0, 0.0, 0.0], [2.0, 1.0, 0.0], 0.5)
    """
    seen = jnp.asarray(present)
    if seen.ndim != 2 or seen.shape[1] < 2 or seen.shape[0] < 1:
        raise ValueError(f"present must be a matrix [V, T] with T of 2 or more, got shape {seen.shape}")
    seen = as_float(seen) > 0
    intervals = seen.shape[1]
    known = ~seen[:, 0]
    tenure = jnp.arange(intervals)[None, :] - jnp.argmax(seen, axis=1)[:, None]
    later = jax.lax.cummax(seen[:, ::-1].astype(int), axis=1)[:, ::-1]
    again = jnp.concatenate([later[:, 1:], jnp.zeros_like(later[:, :1])], axis=1) > 0
    risk = seen & known[:, None] & (jnp.arange(intervals) < intervals - 1)[None, :]
    place = jnp.where(risk, tenure, intervals - 1).ravel()
    at_risk = jax.ops.segment_sum(as_float(risk.ravel()), place, intervals)[:-1]
    exits = jax.ops.segment_sum(as_float((risk & ~again).ravel()), place, intervals)[:-1]
    hazard = jnp.where(at_risk > 0, safe_divide(exits, at_risk), jnp.nan)
    low, high = wilson(exits, at_risk, z=z)
    survival = jnp.cumprod(jnp.where(at_risk > 0, 1.0 - hazard, 1.0))
    return Hazard(
        at_risk=at_risk,
        exits=exits,
        hazard=hazard,
        low=low,
        high=high,
        survival=survival,
        left_out=jnp.sum(jnp.where(seen[:, 0], 1, 0)),
    )


def wilson(successes: jax.Array, trials: jax.Array, *, z: Scalar = 1.959964) -> tuple[jax.Array, jax.Array]:
    """Wilson's interval of a proportion; (0, 1) without trials.

    Equation: `(s + z^2/2 -+ z sqrt(s (n-s)/n + z^2/4)) / (n + z^2)`.

    Args:
        successes: [...] s, from 0 to `trials`.
        trials: [...] n, >= 0.
        z: half width in standard errors, > 0.

    Returns:
        [...] lower and upper end, in [0, 1].

    Raises:
        ValueError: a concrete value is out of range.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.

    Example:
        >>> low, high = wilson(jnp.array(5.0), jnp.array(10.0))
        >>> print(f"{low:.4f} {high:.4f}")
        0.2366 0.7634
    """
    n = as_float(require_domain("trials", trials, NON_NEGATIVE))
    s = as_float(require_domain("successes", successes, NON_NEGATIVE))
    s = s * require(s <= n, "successes must be at most trials, got {successes}", successes=s)
    z = as_float(require_domain("z", z, POSITIVE))
    square = z * z
    half = z * jnp.sqrt(safe_divide(s * (n - s), n) + 0.25 * square)
    middle, whole = s + 0.5 * square, n + square
    return jnp.maximum(middle - half, 0.0) / whole, jnp.minimum((middle + half) / whole, 1.0)


def hazard_trend(hazard: Hazard) -> tuple[jax.Array, jax.Array]:
    """Whether the hazard changes with tenure: the Cochran-Armitage statistic against the mean tenure of those at risk.

    Equation: `Z = sum_d (d - D) (x_d - n_d h) / sqrt(h (1-h) sum_d n_d (d - D)^2)`, `D` the mean tenure at risk and `h`
    the hazard of all together; standard normal if the hazard is the same at every tenure.

    Returns:
        The common hazard, and Z, below 0 where it falls with tenure; NaN where nobody leaves or nobody stays.

    Source: P. Armitage, Biometrics 11 (1955) 375-386.

    Example:
        >>> flat = exit_hazard(jnp.array([[0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]))
        >>> common, z = hazard_trend(flat)
        >>> print(f"{common:.2f} {z:.2f}")
        0.40 0.37
    """
    n, x = hazard.at_risk, hazard.exits
    tenure = jnp.arange(n.shape[0]).astype(n.dtype)
    common = safe_divide(jnp.sum(x), jnp.sum(n), at_zero=math.nan)
    centred = tenure - safe_divide(jnp.sum(n * tenure), jnp.sum(n))
    variance = common * (1.0 - common) * jnp.sum(n * centred * centred)
    top = jnp.sum(centred * (x - n * common))
    return common, jnp.where(variance > 0, top / jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), jnp.nan)
