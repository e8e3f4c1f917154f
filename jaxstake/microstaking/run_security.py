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
from jaxstake.core.numerics import as_float, keep_where
from jaxstake.core.pytree import leaf, pytree
from jaxstake.microstaking.assessment import SecurityScenario
from jaxstake.microstaking.attack_cost import attack_cost, log_economic_probability
from jaxstake.microstaking.common_shock import log_fault_probability
from jaxstake.microstaking.market_paths import DAYS_PER_YEAR, MarketPath
from jaxstake.microstaking.network import Period
from jaxstake.microstaking.security import log_attack_probability, security_level

NARROWEST = 1e-2
"""Least width of the interpolated range, in the logarithm of the number and in standard deviations of quality."""


@pytree
class FaultSurface:
    """`ln P_fault` as Chebyshev coefficients over a range of the number of operators and of their chance to fail."""

    coefficients: jax.Array = leaf(meaning="[K, K] of the polynomials in the scaled logarithm and the scaled quality")
    centre: jax.Array = leaf(meaning="[2] middle of ln(number) and of Phi^-1(chance)")
    half: jax.Array = leaf(meaning="[2] half the width of each")


def fault_surface(
    security: SecurityScenario, *, number: jax.Array, corruption: jax.Array, points: int = 5, nodes: int = 64
) -> FaultSurface:
    """Evaluate `log_fault_probability` on a grid that spans what is given.

    Args:
        security: correlation and threshold of the fault.
        number: [T] equal operators, >= 1; only the smallest and the largest matter, and have no gradient.
        corruption: [T] chances that an operator fails, in (0, 1), likewise.
        points: Chebyshev points K along each, static, >= 2. 5 are within 1e-5 as long as the number
            changes by less than a factor of 1.2, 9 within 1e-4 for a factor of two.
        nodes: Gauss-Hermite nodes of the common shock, static.

    Raises:
        ValueError: points is less than 2.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    places = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    ends = [(jnp.min(x), jnp.max(x)) for x in (jnp.log(number), ndtri(corruption))]
    centre = jax.lax.stop_gradient(jnp.stack([0.5 * (low + high) for low, high in ends]))
    half = jax.lax.stop_gradient(jnp.stack([0.5 * jnp.maximum(high - low, NARROWEST) for low, high in ends]))
    grid = centre[:, None] + jnp.outer(half, jnp.asarray(places, centre.dtype))

    def exact(log_number: jax.Array, quality: jax.Array) -> jax.Array:
        return log_fault_probability(
            n_eff=jnp.exp(log_number),
            corruption=ndtr(quality),
            correlation=security.correlation,
            threshold=security.threshold,
            nodes=nodes,
        )

    with established():
        values = jax.vmap(jax.vmap(exact, (None, 0)), (0, None))(grid[0], grid[1])
    inverse = jnp.asarray(np.linalg.inv(np.polynomial.chebyshev.chebvander(places, points - 1)), values.dtype)
    return FaultSurface(coefficients=inverse @ values @ inverse.T, centre=centre, half=half)


def interpolated_log_fault(surface: FaultSurface, *, number: jax.Array, corruption: jax.Array) -> jax.Array:
    """[T] `ln P_fault` from a surface; NaN where it is further out than a hundredth of the surface's width.

    Args:
        surface: of `fault_surface`.
        number: [T] equal operators.
        corruption: [T] chances that an operator fails.
    """
    x = (jnp.log(number) - surface.centre[0]) / surface.half[0]
    y = (ndtri(corruption) - surface.centre[1]) / surface.half[1]
    inside = (jnp.abs(x) <= 1.02) & (jnp.abs(y) <= 1.02)
    size = surface.coefficients.shape[0]
    found = jnp.einsum("ti,ij,tj->t", _polynomials(x, size), surface.coefficients, _polynomials(y, size))
    return keep_where(inside, found, otherwise=jnp.nan)


def security_levels(
    security: SecurityScenario, periods: Period, path: MarketPath, *, surface: FaultSurface | None = None
) -> jax.Array:
    """Decimal places of security in every period of a run.

    Equation: that of `assessment.assess`, with the number of equal operators `1 / HHI`, the stake-weighted chance of
    failure, the stake, the price and the volatility of each period; `ln P_fault` is interpolated.

    Args:
        security: what an attack takes; its stake, price, volatility and quality are not used.
        periods: a run [T].
        path: its market [T].
        surface: of the fault; default one over what this run visits, which costs most of the work and of compiling.

    Returns:
        [T] levels.
    """
    s, number, corruption = security, 1.0 / as_float(periods.herfindahl), as_float(periods.corruption)
    if surface is None:
        surface = fault_surface(security, number=number, corruption=corruption)
    with established():
        fault = interpolated_log_fault(surface, number=number, corruption=corruption)
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


def _polynomials(u: jax.Array, number: int) -> jax.Array:
    """[T, number] Chebyshev polynomials of the first kind."""
    rows = [jnp.ones_like(u), u]
    while len(rows) < number:
        rows.append(2.0 * u * rows[-1] - rows[-2])
    return jnp.stack(rows, axis=1)
