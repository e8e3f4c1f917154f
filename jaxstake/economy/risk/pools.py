"""What pooling does to luck: the median of k validators, and how often a smoothing pool beats being alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar
from jaxstake.economy import block_value
from jaxstake.economy.risk.distribution import ReturnDistribution, distribution, return_distribution, scaled
from jaxstake.economy.risk.income import execution_only, income_law
from jaxstake.economy.risk.quantities import cdf, quantile
from jaxstake.economy.scenario import Scenario

POOL_SIZES = (*(float(1 << power) for power in range(13)), 10_000.0)
"""1, 2, 4, ..., 4,096 and 10,000 validators."""


def median_by_pool_size(
    scenario: Scenario,
    sizes: Any = POOL_SIZES,
    *,
    level: Scalar = 0.5,
    years: Scalar = 1.0,
    points: int = 1 << 16,
    beyond: float = 1e-9,
) -> jax.Array:
    """Median gross return per year of pooled validators by their number, each on its own grid.

    The mean does not depend on the size; the median of few is below it, because few win the large blocks.

    Args:
        scenario: scalars.
        sizes: [K] numbers of validators, each >= 1.
        level: another quantile in place of the median, in (0, 1).
        years: length of the horizon, > 0.
        points: cells of each grid, a power of two; static.
        beyond: chance of a return above each grid that sets its width, in (0, 0.1]; static. For heavy tails 1e-4 or so.

    Returns:
        [K] returns per year.

    Raises:
        ValueError: as `return_distribution`.

    Example:
        >>> print([f"{x:.2%}" for x in median_by_pool_size(Scenario(), (1.0, 100.0), points=1 << 12)])
        ['2.54%', '2.62%']
    """

    def one(size: jax.Array) -> jax.Array:
        found = return_distribution(scenario, validators=size, years=years, points=points, beyond=beyond)
        return quantile(found, level=level)

    return jax.lax.map(one, jnp.asarray(sizes, float))


def chance_of_more(one: ReturnDistribution, other: ReturnDistribution) -> jax.Array:
    """Chance that an independent return by `one` exceeds one by `other`; what is beyond the first grid counts as more.

    Equation: `sum_j P(one in cell j) F_other(middle of cell j)`.
    """
    middles = one.start + one.step * (jnp.arange(one.mass.size).astype(one.mass.dtype) + 0.5)
    return jnp.sum(one.mass * cdf(other, value=middles)) + one.beyond


def smoothing_pool_wins(
    scenario: Scenario,
    *,
    fee: Scalar = 0.0,
    validators: Scalar = 1.0,
    pool_validators: Scalar | None = None,
    years: Scalar = 1.0,
    points: int = 1 << 16,
) -> jax.Array:
    """Chance that an operator's share of a smoothing pool exceeds the execution income of its own blocks.

    A smoothing pool gathers the execution income of its members (block values, and tips outside them) and shares it by
    stake, less a fee; consensus rewards stay with the member, so that they do not matter here. A pool of K validators
    has luck of its own, taken as independent of the member's, which overstates its spread by a share of the order k/K;
    without a number of validators the pool pays its expectation.

    Args:
        scenario: scalars.
        fee: share of the execution income that the pool keeps, in [0, 1].
        validators: those of the operator, >= 1.
        pool_validators: those of the pool, K >= 1; None for a pool so large that it has no luck.
        years: length of the horizon, > 0.
        points: cells of each grid, a power of two; static.

    Returns:
        The chance; NaN if the mean of a block is infinite and the pool pays its expectation.

    Raises:
        ValueError: as `return_distribution`, or the fee is outside [0, 1].

    Example:
        >>> print(f"{smoothing_pool_wins(Scenario(), points=1 << 12):.2f}")
        0.61
    """
    fee = require_domain("fee", fee, FRACTION)
    tips = scenario.network.tips_per_block_eth
    own = execution_only(income_law(scenario, validators=validators, years=years), tips_eth=tips)
    alone = distribution(own, points=points)
    if pool_validators is None:
        return cdf(alone, value=_finite((1.0 - fee) * _mean(own)))
    shared = execution_only(income_law(scenario, validators=pool_validators, years=years), tips_eth=tips)
    pool = distribution(shared, points=points)
    kept = as_float(1.0 - fee)
    none = kept <= 0
    return jnp.where(none, 0.0, chance_of_more(scaled(pool, factor=jnp.where(none, 1.0, kept)), alone))


def _mean(law: Any) -> Scalar:
    payment = law.fixed_eth + block_value.mean(law.block_value)
    return law.slots * law.proposal_chance * payment / law.capital_eth_years


def _finite(value: Scalar) -> jax.Array:
    return jnp.where(jnp.isfinite(value), value, jnp.nan)
