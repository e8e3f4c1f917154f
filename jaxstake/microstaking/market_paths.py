"""What the network does not decide: the price of ETH, its volatility, and how many people hold it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import in_domains, poison, require_domain
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

DAYS_PER_YEAR = 365.25


@pytree
class PathLaw:
    """Price with stochastic volatility, and a shock to the number of holders."""

    # Close of 2025-12-31 on Binance.
    price_usd: Scalar = leaf(default=2_971.64, unit="USD", domain=POSITIVE, meaning="price of ETH at the start")
    log_drift: Scalar = leaf(default=0.0, unit="1/year", domain=FINITE, meaning="drift of ln(price): of its median")
    # Daily closes of ETH, 2021 to 2025, in windows of 30 days: their median, deviation and correlation. By the day on
    # which the windows begin, the deviation is 0.36 to 0.41 and the correlation 0.45 to 0.62.
    mean_volatility: Scalar = leaf(
        default=0.693, unit="1/sqrt(year)", domain=POSITIVE, meaning="mean volatility of the price"
    )
    log_std_volatility: Scalar = leaf(default=0.393, domain=NON_NEGATIVE, meaning="deviation of ln(volatility)")
    persistence: Scalar = leaf(
        default=0.52, domain=PROPER_FRACTION, meaning="correlation of ln(volatility) after 30 days"
    )
    # Judgement: adoption comes in waves of some years. Without it the exponent of the count is not identified.
    log_std_holders: Scalar = leaf(default=0.2, domain=NON_NEGATIVE, meaning="deviation of ln(number of holders)")
    holders_persistence: Scalar = leaf(
        default=0.5, domain=PROPER_FRACTION, meaning="correlation of ln(number of holders) after a year"
    )


@pytree
class MarketPath:
    """One path over T periods."""

    price_usd: jax.Array = leaf(unit="USD", meaning="[T] price of ETH at the start of each period")
    volatility: jax.Array = leaf(unit="1/sqrt(year)", meaning="[T] volatility in each period")
    holders: jax.Array = leaf(meaning="[T] number of holders over its mean")


def market_path(law: PathLaw, *, key: jax.Array, periods: int, days: Scalar = 7.0) -> MarketPath:
    """Draw one path.

    Equation: `ln sigma_t` is a stationary first-order autoregression around `ln sigma* - s^2/2`, so that the mean of
    sigma is sigma*; likewise the logarithm of the number of holders around a mean of 1; `ln P_{t+1} = ln P_t +
    g d + sigma_t sqrt(d) z` with d the length of a period in years. Without drift the median of the price stays; were
    its mean to stay, the median would fall to a tenth in ten years.

    Args:
        law: numbers.
        key: random key.
        periods: T, static, >= 1.
        days: length of a period, > 0.

    Returns:
        `MarketPath`.

    Raises:
        ValueError: a concrete value is out of range.

    Example:
        >>> path = market_path(PathLaw(), key=jax.random.key(0), periods=5_200)
        >>> print(f"{jnp.std(jnp.log(path.volatility)):.1f}")
        0.4
    """
    if periods < 1:
        raise ValueError(f"periods must be at least 1, got {periods}")
    ok = in_domains(law)
    days = as_float(require_domain("days", days, POSITIVE))
    shocks = jax.random.normal(key, (3, periods))
    log_volatility = _autoregression(shocks[0], jnp.power(as_float(law.persistence), days / 30.0))
    log_holders = _autoregression(shocks[1], jnp.power(as_float(law.holders_persistence), days / DAYS_PER_YEAR))
    volatility = law.mean_volatility * _lognormal_of_mean_one(log_volatility, law.log_std_volatility)
    years = days / DAYS_PER_YEAR
    steps = volatility * jnp.sqrt(years) * shocks[2] + law.log_drift * years
    growth = jnp.cumsum(steps) - steps
    path = MarketPath(
        price_usd=law.price_usd * jnp.exp(growth),
        volatility=volatility,
        holders=_lognormal_of_mean_one(log_holders, law.log_std_holders),
    )
    return jax.tree.map(lambda value: poison(ok, value), path)


def _autoregression(shocks: jax.Array, correlation: jax.Array) -> jax.Array:
    """Stationary, with variance 1 and this correlation between neighbours."""
    scale = jnp.sqrt(1.0 - jnp.square(correlation))

    def advance(before: jax.Array, shock: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = correlation * before + scale * shock
        return now, now

    _, rest = jax.lax.scan(advance, shocks[0], shocks[1:])
    return jnp.concatenate([shocks[:1], rest])


def _lognormal_of_mean_one(standard: jax.Array, log_std: Scalar) -> jax.Array:
    return jnp.exp(log_std * standard - 0.5 * jnp.square(as_float(log_std)))
