"""Security along a run of the dynamics: the level of `assessment.assess` in every period, at a tenth of the work.

The chance of a common fault is a double sum, and along a run it depends on two numbers that move little: how
concentrated the stake is and how likely an operator fails. It is therefore evaluated on a small Chebyshev grid over
what the run visits, and interpolated; the derivative in the path of the run is that of the interpolant, and in the
parameters of the fault that of the grid's values.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jaxstake.core.checks import established
from jaxstake.core.numerics import as_float
from jaxstake.microstaking.assessment import SecurityScenario
from jaxstake.microstaking.attack_cost import attack_cost, log_economic_probability
from jaxstake.microstaking.common_shock import log_fault_probability
from jaxstake.microstaking.market_paths import DAYS_PER_YEAR, MarketPath
from jaxstake.microstaking.network import Period
from jaxstake.microstaking.security import log_attack_probability, security_level

NARROWEST = 1e-2
"""Least width of the interpolated range, in the logarithm of the number and in standard deviations of quality."""


def security_levels(
    security: SecurityScenario, periods: Period, path: MarketPath, *, nodes: int = 64, points: int = 5
) -> jax.Array:
    """Decimal places of security in every period of a run.

    Equation: that of `assessment.assess`, with the number of equal operators `1 / HHI`, the stake-weighted chance of
    failure, the stake, the price and the volatility of each period; `ln P_fault` is interpolated.

    Args:
        security: what an attack takes; its stake, price, volatility and quality are not used.
        periods: a run [T].
        path: its market [T].
        nodes: Gauss-Hermite nodes of the common shock, static.
        points: Chebyshev points along each of both numbers, static, >= 2; 5 are within 1e-5 of the level as long as
            the number of operators changes by less than a factor of two.

    Returns:
        [T] levels.

    Raises:
        ValueError: points is less than 2.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    s = security
    with established():
        fault = _log_fault(security, 1.0 / as_float(periods.herfindahl), as_float(periods.corruption), nodes, points)
        cost = attack_cost(
            total_stake_eth=periods.active_eth,
            price_usd=path.price_usd,
            daily_volume_eth=s.daily_volume_eth,
            threshold=s.threshold,
            loss_fraction=s.loss_fraction,
            impact=s.impact,
            daily_volatility=path.volatility / jnp.sqrt(DAYS_PER_YEAR),
        )
        bought = log_economic_probability(
            cost_usd=cost,
            success=s.success,
            log_mean_reward=jnp.log(as_float(s.reward_usd)),
            log_std_reward=s.log_std_reward,
        )
        return jnp.asarray(security_level(log_attack=log_attack_probability(log_fault=fault, log_economic=bought)))


def _log_fault(
    security: SecurityScenario, number: jax.Array, corruption: jax.Array, nodes: int, points: int
) -> jax.Array:
    """[T] `log_fault_probability`, interpolated over what the run visits."""
    x, y = jnp.log(number), ndtri(corruption)
    (x, x_points), (y, y_points) = (_scaled(values, points) for values in (x, y))

    def exact(log_number: jax.Array, quality: jax.Array) -> jax.Array:
        return log_fault_probability(
            n_eff=jnp.exp(log_number),
            corruption=ndtr(quality),
            correlation=security.correlation,
            threshold=security.threshold,
            nodes=nodes,
        )

    values = jax.vmap(jax.vmap(exact, (None, 0)), (0, None))(x_points, y_points)
    places = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    inverse = jnp.asarray(np.linalg.inv(np.polynomial.chebyshev.chebvander(places, points - 1)), values.dtype)
    coefficients = inverse @ values @ inverse.T
    return jnp.einsum("ti,ij,tj->t", _polynomials(x, points), coefficients, _polynomials(y, points))


def _scaled(values: jax.Array, points: int) -> tuple[jax.Array, jax.Array]:
    """The values on [-1, 1], and Chebyshev points of the range that they cover, in its own unit."""
    low, high = jax.lax.stop_gradient((jnp.min(values), jnp.max(values)))
    centre, half = 0.5 * (low + high), 0.5 * jnp.maximum(high - low, NARROWEST)
    places = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    return (values - centre) / half, centre + half * jnp.asarray(places, values.dtype)


def _polynomials(u: jax.Array, number: int) -> jax.Array:
    """[T, number] Chebyshev polynomials of the first kind."""
    rows = [jnp.ones_like(u), u]
    while len(rows) < number:
        rows.append(2.0 * u * rows[-1] - rows[-2])
    return jnp.stack(rows, axis=1)
