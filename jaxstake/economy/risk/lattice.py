"""A payment on a lattice, and the lattice that suits an income: its step, its start, and how far rounding shifts it.

The layout follows the parameters but has no gradient: a derivative is taken on a grid that stands still.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.numerics import as_float, safe_sqrt
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.risk.income import IncomeLaw
from jaxstake.economy.risk.keep import kept, stored

STAIRS = 32
"""Quantiles from which the second moment of a payment is bounded."""

GAUSS = (0.5 - math.sqrt(1 / 12), 0.5 + math.sqrt(1 / 12))
"""Where in a cell two values have its mean."""

FINEST_PAYMENT, FINEST_TOTAL = 4.0, 50.0
"""A step is at most the root mean square of an ordinary payment over the first, and the deviation over the second."""

BULK = 8.0
"""Deviations above the mean that a grid covers however long its steps are then."""


@pytree
class Lattice:
    """Points at `(first + j) step_eth`; `doubt` bounds the chance of an income below the first."""

    first: Any = leaf(meaning="index of the first point; a whole number")
    step_eth: Any = leaf(unit="ETH")
    doubt: Any = leaf(meaning="bound on the chance of an income below the first point")


def count_bound(expected: Scalar, *, nats: Scalar) -> jax.Array:
    """Count that a binomial with this expectation reaches or exceeds with chance `exp(-nats)` at most.

    Equation: the root a >= expected of `a ln(a / expected) - a + expected = nats` (Chernoff), by Newton's steps from
    Bernstein's bound, which is above it.
    """
    expected = jnp.maximum(as_float(expected), 1e-30)

    def nearer(_: int, bound: jax.Array) -> jax.Array:
        slope = jnp.log(bound / expected)
        return bound - (bound * slope - bound + expected - nats) / slope

    start = expected + nats / 3.0 + jnp.sqrt((nats / 3.0) ** 2 + 2.0 * expected * nats)
    return jax.lax.fori_loop(0, 8, nearer, start)


def layout(law: IncomeLaw, *, points: int, beyond: float, width_eth: Scalar | None, dtype: Any) -> Lattice:
    """Lattice from an income that is all but never undercut to one that is exceeded with chance `beyond`, about.

    The lower end is a bound: for terms >= 0, `P(S <= E S - t) <= exp(-t^2 / (2 E sum A^2))`. The upper end adds to the
    mean what Bennett's inequality allows payments up to a common size, or one largest payment and four deviations,
    whichever is more. It is not a bound; what lies beyond is computed exactly afterwards.
    """
    law = jax.lax.stop_gradient(jax.tree.map(lambda x: jnp.asarray(x, dtype), law))
    nats, low_nats = -math.log(beyond), _low_nats(dtype)
    expected, seats = law.slots * law.proposal_chance, law.seat_trials * law.seat_chance
    common, second, mean = _payment(law, 0.01 / jnp.maximum(expected, 1.0), dtype)
    _, ordinary, typical = _payment(law, 1.0 / jnp.maximum(expected, 2.0), dtype)
    reach = math.sqrt(2.0 * low_nats)
    deviation, plain = safe_sqrt(expected * second), safe_sqrt(expected * ordinary)
    least = jnp.maximum(expected * mean - deviation * reach, expected * typical - plain * reach)
    few = jnp.maximum(0.0, seats - jnp.sqrt(seats) * reach)
    many = count_bound(seats, nats=low_nats)
    low = jnp.maximum(0.0, least) + jnp.where(law.seat_eth < 0, many, few) * law.seat_eth
    effective = expected * second / common**2
    body = common * (count_bound(effective, nats=nats) - effective)
    scarce = jnp.clip(beyond / (2.0 * jnp.maximum(expected, 1e-30)), 2.0 * jnp.finfo(dtype).eps, 0.5)
    largest = law.fixed_eth + block_value.quantile(law.block_value, level=1.0 - scarce)
    luck = jnp.maximum(body, largest + 4.0 * deviation)
    seldom = jnp.minimum(seats, jnp.sqrt(2.0 * nats * seats))
    seated = jnp.where(law.seat_eth < 0, -seldom, count_bound(seats, nats=nats) - seats) * law.seat_eth
    centre = expected * mean + seats * law.seat_eth
    high = centre + jnp.maximum(luck, seated) + 0.5 * jnp.minimum(luck, seated)
    spread = jnp.sqrt(jnp.maximum(expected, 0.1) * ordinary + seats * law.seat_eth**2)
    coarsest = jnp.minimum(jnp.sqrt(ordinary) / FINEST_PAYMENT, spread / FINEST_TOTAL)
    fewest = jnp.maximum(coarsest, (centre + BULK * spread - low) / (points - 4))
    step = jnp.minimum((high - low) / (points - 4), fewest) if width_eth is None else width_eth / points
    step, low = kept(jnp.asarray(step, dtype)), kept(low)
    return Lattice(first=jnp.floor(low / step), step_eth=step, doubt=jnp.asarray(2.0 * math.exp(-low_nats), dtype))


def cell_survival(law: IncomeLaw, *, points: int, step_eth: jax.Array) -> jax.Array:
    """[points] mean over each cell `[j h, (j+1) h]` of the chance that a payment exceeds a value.

    It is the chance that the payment, its mass in each cell split between both ends so that the mean is preserved,
    exceeds `j h`. In double precision from differences of the limited mean, exactly; in single precision, where those
    cancel, by Gauss's rule, a split between the same ends that may move the mean, which `missing_mean` then restores.
    """
    dtype = step_eth.dtype
    if dtype == jnp.float64:
        limited = stored(_limited_mean(law.block_value, jnp.arange(points).astype(dtype) * step_eth - law.fixed_eth))
        last = kept(_limited_mean(law.block_value, points * step_eth - law.fixed_eth))
        return (jnp.concatenate([limited[1:], last[None]]) - limited) / step_eth
    share = jnp.clip(jnp.arange(1, points + 1).astype(dtype) - law.fixed_eth / step_eth, 0.0, 1.0)
    low = jnp.maximum(jnp.arange(points).astype(dtype) * step_eth - law.fixed_eth, 0.0)
    chances = [block_value.survival(law.block_value, value=low + share * (node * step_eth)) for node in GAUSS]
    return 1.0 - share + 0.5 * share * (chances[0] + chances[1])


def split_bias(law: IncomeLaw, *, points: int, step_eth: jax.Array) -> jax.Array:
    """Steps by which splitting moves the mean of a payment in single precision, with the rounding of the difference."""
    split = jnp.sum(cell_survival(law, points=points, step_eth=step_eth))
    whole = _limited_mean(law.block_value, points * step_eth - law.fixed_eth) + law.fixed_eth
    return jnp.abs(whole / step_eth - split) + 2.0 * jnp.finfo(step_eth.dtype).eps * split


def missing_mean(law: IncomeLaw, exceed: jax.Array, *, step_eth: jax.Array) -> jax.Array:
    """Steps by which `cell_survival` puts the mean of a payment within the lattice too low; 0 in double precision."""
    if step_eth.dtype == jnp.float64:
        return jnp.zeros((), step_eth.dtype)
    whole = _limited_mean(law.block_value, exceed.size * step_eth - law.fixed_eth) + law.fixed_eth
    return jnp.clip(kept(whole / step_eth - jnp.sum(exceed)), -1.0, 1.0)


def rounding_shift(expected: Scalar, *, nats: float) -> jax.Array:
    """Steps by which the sum of split payments is off with chance `exp(-nats)` at most, on one side.

    Equation: the error of each payment has mean 0 and lies in an interval of c steps, so for N of them `E exp(u e) <=
    exp(E N (exp(c^2 u^2 / 8) - 1))`; the shift is the least over u of `(nats + E N (exp(c^2 u^2 / 8) - 1)) / u`.
    In double precision c is 1 (the mean is 0 given the payment), in single precision 3.
    """
    expected = as_float(expected)
    length = 1.0 if expected.dtype == jnp.float64 else 3.0
    slopes = np.geomspace(1e-3, 6.0, 96)
    gains = np.expm1(slopes**2 / 8.0)
    terms = (nats + expected * jnp.asarray(gains, expected.dtype)) / jnp.asarray(slopes, expected.dtype)
    return length * jnp.min(terms)


def _limited_mean(distribution: Any, value: jax.Array) -> jax.Array:
    """`E min(X, value)`, also for a negative value."""
    return block_value.limited_mean(distribution, value=jnp.maximum(value, 0.0)) - jnp.maximum(-value, 0.0)


def _low_nats(dtype: Any) -> float:
    return 45.0 if dtype == jnp.float64 else 20.0


def _payment(law: IncomeLaw, rare: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A size that a payment exceeds with chance `rare`; of payments limited to it a bound on E A^2, and the mean."""
    rare = jnp.clip(rare, 4.0 * jnp.finfo(dtype).eps, 0.5)
    tails = rare ** jnp.asarray(np.arange(1, STAIRS + 1) / STAIRS, dtype)
    sizes = as_float(block_value.quantile(law.block_value, level=1.0 - tails))
    weights = jnp.concatenate([jnp.ones(1, dtype), tails[:-1]]) - tails
    payments = law.fixed_eth + sizes
    second = jnp.sum(weights * payments**2) + rare * payments[-1] ** 2
    mean = law.fixed_eth + as_float(block_value.limited_mean(law.block_value, value=sizes[-1]))
    return kept(payments[-1]), kept(second), kept(mean)
