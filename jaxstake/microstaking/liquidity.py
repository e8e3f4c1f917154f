"""Liquidity of a staking token: indicators, a reserve that deepens its market under stress, and what a queue costs.

Amounts are ETH, times days, volatilities a fraction per square root of a year. Pools are those of `pools`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every, in_domains, poison, require_domain
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import pools


def liquidity_indicator(*, volume: Scalar, price: Scalar, volatility: Scalar) -> Scalar:
    """Trading volume over price and volatility.

    Equation: `L = V / (P sigma)`. Not the `L(p)` of a pool, to which slippage is inverse (`pools.liquidity_density`).

    Args:
        volume: volume traded per unit of time, currency, >= 0.
        price: price, the same currency, > 0.
        volatility: volatility of the price over the same time, a fraction, > 0.

    Returns:
        Units of the asset per unit of time.

    Raises:
        ValueError: a concrete value is outside its range.

    Source: Micro-staking analysis, section 2.1.

    Example:
        >>> print(f"{liquidity_indicator(volume=3e6, price=3_000.0, volatility=0.05):.1f}")
        20000.0
    """
    volume = require_domain("volume", volume, NON_NEGATIVE)
    price = require_domain("price", price, POSITIVE)
    return as_float(volume) / price / require_domain("volatility", volatility, POSITIVE)


def liquidity_efficiency(*, actual_volume: Scalar, potential_volume: Scalar, volatility: Scalar) -> Scalar:
    """Share of the potential volume that is traded, over volatility.

    Equation: `E_L = (V_actual / V_potential) / sigma_p`.

    Args:
        actual_volume: volume traded, any unit, >= 0.
        potential_volume: volume that could be traded, the same unit, > 0.
        volatility: volatility of the price, a fraction, > 0.

    Returns:
        A number, above 1 in a calm market.

    Raises:
        ValueError: a concrete value is outside its range.

    Source: Micro-staking analysis, section 2.2.2.

    Example:
        >>> print(f"{liquidity_efficiency(actual_volume=30.0, potential_volume=100.0, volatility=0.5):.1f}")
        0.6
    """
    actual_volume = require_domain("actual_volume", actual_volume, NON_NEGATIVE)
    potential_volume = require_domain("potential_volume", potential_volume, POSITIVE)
    return as_float(actual_volume) / potential_volume / require_domain("volatility", volatility, POSITIVE)


@pytree
class DynamicLayer:
    """The second layer of a dual-layer pool: a finite reserve and when it opens. Its numbers are a policy, not data.

    The defaults open the reserve when withdrawals of a tenth of the base liquidity are asked for at normal volatility.
    """

    capacity: Scalar = leaf(unit="ETH", domain=POSITIVE, meaning="reserve when it is full")
    release_rate: Scalar = leaf(default=1.0, unit="1/day", domain=NON_NEGATIVE, meaning="outflow of an open reserve")
    refill_rate: Scalar = leaf(default=0.1, unit="1/day", domain=NON_NEGATIVE, meaning="share of the gap refilled")
    pressure_weight: Scalar = leaf(
        default=1.0, domain=NON_NEGATIVE, meaning="stress per withdrawal over base liquidity"
    )
    volatility_weight: Scalar = leaf(default=0.2, domain=NON_NEGATIVE, meaning="stress per relative excess volatility")
    normal_volatility: Scalar = leaf(
        default=0.693, unit="1/sqrt(year)", domain=POSITIVE, meaning="volatility that adds no stress: ETH, 2021 to 2025"
    )
    threshold: Scalar = leaf(default=0.1, domain=FINITE, meaning="stress above which the reserve opens")


@pytree
class Release:
    """One period of the dynamic layer; `reserve before + refilled = reserve + released`, to rounding."""

    gate: Scalar = leaf(meaning="how far the reserve is open, from 0 to 1")
    released: Scalar = leaf(unit="ETH", meaning="L_dynamic, paid out of the reserve in the period")
    refilled: Scalar = leaf(unit="ETH", meaning="added to the reserve after that")
    reserve: Scalar = leaf(unit="ETH", meaning="reserve at the end of the period, from 0 to the capacity")


def stress(layer: DynamicLayer, *, pressure: Scalar, volatility: Scalar) -> Scalar:
    """Stress of the market beyond the threshold; positive where the reserve should be open.

    Equation: `z = a pressure + b (sigma / sigma* - 1) - threshold`.

    Args:
        layer: the policy.
        pressure: withdrawals asked for over the base liquidity `L_base`, >= 0.
        volatility: volatility of the price, per square root of a year, >= 0.

    Raises:
        ValueError: a concrete value is outside its range.

    Example:
        >>> print(f"{stress(DynamicLayer(capacity=1e4), pressure=0.3, volatility=0.693):.2f}")
        0.20
    """
    ok = in_domains({"layer": layer})
    pressure = as_float(require_domain("pressure", pressure, NON_NEGATIVE))
    excess = as_float(require_domain("volatility", volatility, NON_NEGATIVE)) / layer.normal_volatility - 1.0
    return poison(ok, layer.pressure_weight * pressure + layer.volatility_weight * excess - layer.threshold)


def release(layer: DynamicLayer, *, reserve: Scalar, pressure: Scalar, volatility: Scalar, days: Scalar) -> Release:
    """What the reserve pays in a period under the hard gate, open (1) where the stress is positive, else shut (0).

    Equation, gate `g`: `released = R (1 - exp(-release_rate g t))`, and of the room that is left then,
    `refilled = (capacity - R + released) (1 - exp(-refill_rate t))`. The reserve stays within 0 and the capacity.

    The gate has no gradient: that of `pressure` and `volatility` is 0. `soft_release` is the smooth form.

    Args:
        layer: the policy.
        reserve: reserve at the start R, ETH, in [0, capacity].
        pressure: withdrawals asked for over the base liquidity, >= 0.
        volatility: volatility of the price, per square root of a year, >= 0.
        days: length of the period t, days, >= 0.

    Returns:
        `Release`, ETH.

    Raises:
        ValueError: a concrete value is outside its range.

    Example:
        >>> layer = DynamicLayer(capacity=1e4)
        >>> found = release(layer, reserve=8e3, pressure=0.3, volatility=0.693, days=1.0)
        >>> print(f"{found.released:.1f} {found.refilled:.1f} {found.reserve:.0f}")
        5057.0 671.6 3615
    """
    level = stress(layer, pressure=pressure, volatility=volatility)
    gate = jnp.where(level > 0, 1.0, 0.0) + 0.0 * level  # NaN stays NaN
    return _period(layer, gate=gate, reserve=reserve, days=days)


def soft_release(
    layer: DynamicLayer,
    *,
    reserve: Scalar,
    pressure: Scalar,
    volatility: Scalar,
    days: Scalar,
    temperature: Scalar = 0.02,
) -> Release:
    """`release` with the gate `sigmoid(stress / temperature)`, which tends to the hard one as the temperature falls.

    Away from the threshold the gates differ by `exp(-|stress| / temperature)` at most, by a half at it.

    Args:
        layer: the policy.
        reserve: reserve at the start, ETH, in [0, capacity].
        pressure: withdrawals asked for over the base liquidity, >= 0.
        volatility: volatility of the price, per square root of a year, >= 0.
        days: length of the period, days, >= 0.
        temperature: width of the gate in units of stress, > 0.

    Returns:
        `Release`, ETH.

    Raises:
        ValueError: a concrete value is outside its range.

    Example:
        >>> layer = DynamicLayer(capacity=1e4)
        >>> found = soft_release(layer, reserve=8e3, pressure=0.1, volatility=0.693, days=1.0)
        >>> print(f"{found.gate:.2f} {found.released:.1f}")
        0.50 3147.8
    """
    temperature = require_domain("temperature", temperature, POSITIVE)
    gate = jax.nn.sigmoid(stress(layer, pressure=pressure, volatility=volatility) / temperature)
    return _period(layer, gate=gate, reserve=reserve, days=days)


def _period(layer: DynamicLayer, *, gate: Any, reserve: Scalar, days: Scalar) -> Release:
    reserve = as_float(require_domain("reserve", reserve, NON_NEGATIVE))
    days = as_float(require_domain("days", days, NON_NEGATIVE))
    message = "reserve must be at most the capacity {capacity}, got {reserve}"
    room = confirm(reserve <= layer.capacity, message, reserve=reserve, capacity=layer.capacity)
    ok = every(in_domains({"layer": layer}), room)
    released = -reserve * jnp.expm1(-layer.release_rate * gate * days)
    left = reserve - released
    refilled = -(layer.capacity - left) * jnp.expm1(-layer.refill_rate * days)
    end = left + refilled
    end = jnp.where(end > layer.capacity, layer.capacity, end)  # by a rounding, which the next period would refuse
    parts = {"gate": gate, "released": released, "refilled": refilled, "reserve": end}
    return Release(**{name: poison(ok, value) for name, value in parts.items()})


def total_liquidity(*, base: Scalar, dynamic: Scalar) -> Scalar:
    """Liquidity of both layers, ETH.

    Equation: `L_total = L_base + L_dynamic`.

    Args:
        base: liquidity that is always there, ETH, >= 0.
        dynamic: liquidity that the reserve has released, ETH, >= 0 (`Release.released`).

    Raises:
        ValueError: a concrete value is negative.

    Source: Micro-staking analysis, section 4.2.
    """
    return as_float(require_domain("base", base, NON_NEGATIVE)) + require_domain("dynamic", dynamic, NON_NEGATIVE)


def depeg(pool: Any, *, redemption_price: Scalar = 1.0) -> Scalar:
    """How far the pool's price lies from what a unit of x is redeemed for; negative is a discount, a fraction.

    Equation: `p / p_redemption - 1`, p the spot price after the pool's fee.

    Args:
        pool: a pool of `pools`.
        redemption_price: what the protocol behind x pays for it in the end, units of y per x, > 0.

    Raises:
        ValueError: redemption_price is concrete and not positive, or the pool is none.

    Example:
        >>> pool = pools.StableSwap(reserve_x=300_000.0, reserve_y=100_000.0, amplification=50.0)
        >>> print(f"{depeg(pool):.4f}")
        -0.0338
    """
    price = require_domain("redemption_price", redemption_price, POSITIVE)
    return pools.spot_price(pool) / as_float(price) - 1.0


def withdrawal_price_impact(pool: Any, *, queue: Scalar, deepening: Scalar = 1.0) -> Scalar:
    """How far the price falls if a whole withdrawal queue is sold through the pool, as a fraction of the price.

    Equation: `1 - p_after / p` of the pool scaled by `deepening`. What the sellers lose is the slippage
    (`pools.slippage`), to first order half of it. It depends on the sum of the queue, not on its order.

    Args:
        pool: a pool of `pools`.
        queue: stake that waits `Q = sum w_i`, in units of x, >= 0.
        deepening: liquidity that is there over that of the pool, `L_total / L_base`, > 0.

    Raises:
        ValueError: a concrete value is outside its range, or the queue exceeds the capacity of the pool.

    Source: Micro-staking analysis, section 2.3.

    Example:
        >>> pool = pools.ConstantProduct(reserve_x=1e5, reserve_y=1e5)
        >>> print(f"{withdrawal_price_impact(pool, queue=1e4):.3f}")
        0.174
    """
    queue = require_domain("queue", queue, NON_NEGATIVE)
    deepening = require_domain("deepening", deepening, POSITIVE)
    return pools.price_impact(pools.scaled(pool, factor=deepening), amount_in=queue)
