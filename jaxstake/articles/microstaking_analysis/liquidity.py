"""Chapter II of the micro-staking analysis: what the document says makes stake liquid. Pools are in `pool`."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxstake.articles.arithmetic import divide
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar


def liquidity_indicator(*, volume: Scalar, price: Scalar, volatility: Scalar) -> Scalar:
    """Trading volume over price and volatility.

    Printed: `L(t) = V(t) / (P(t) * sigma_t)`.

    Args:
        volume: trading volume `V(t)`, currency per unit of time, >= 0.
        price: price `P(t)`, currency, > 0.
        volatility: volatility of the price `sigma_t`, a fraction over the same time, > 0.

    Returns:
        Units of the asset per unit of time, if volatility has no unit; the document names no unit.

    Outside: NaN for a price or a volatility of 0, where the document's division would stop; it grows without bound on
        the way to a calm market.

    Protocol: Stake is not traded, so the protocol has no such quantity: what a staker waits for is the exit queue
        (`jaxstake.protocol.queues.exit_wait`). For tokens of staking pools the standard measures are the price move per
        volume (Amihud's ratio, Kyle's lambda) and the quoted depth. With checks and gradients:
        `jaxstake.microstaking.liquidity.liquidity_indicator`.

    Source: Micro-staking analysis, section 2.1.

    Example:
        >>> print(f"{liquidity_indicator(volume=3e6, price=3_000.0, volatility=0.05):.1f}")
        20000.0
    """
    return divide(volume, as_float(price) * as_float(volatility))


def liquidity_efficiency(*, actual_volume: Scalar, potential_volume: Scalar, volatility: Scalar) -> Scalar:
    """Share of the potential volume that is traded, over volatility.

    Printed: `E_L = (V_actual / V_potential) * (1 / sigma_p)`. The document defines neither volume, nor how `sigma_p`
        differs from the `sigma_t` of section 2.1.

    Args:
        actual_volume: volume `V_actual`, any unit, >= 0.
        potential_volume: volume `V_potential`, the same unit, > 0.
        volatility: volatility of the price `sigma_p`, a fraction, > 0.

    Returns:
        A number; above 1 in a calm market, so it is not a share.

    Outside: NaN for a potential volume or a volatility of 0, where the document's division would stop.

    Protocol: There is no such quantity, in the protocol or among the standard measures. How well the exits use the room
        that the protocol gives them is the queue over `jaxstake.protocol.queues.exit_churn_limit`. With checks and
        gradients: `jaxstake.microstaking.liquidity.liquidity_efficiency`.

    Source: Micro-staking analysis, section 2.2.2.

    Example:
        >>> print(f"{liquidity_efficiency(actual_volume=30.0, potential_volume=100.0, volatility=0.5):.1f}")
        0.6
    """
    return divide(actual_volume, potential_volume) * divide(1.0, volatility)


def slippage(*, price_change: Scalar, price: Scalar) -> Scalar:
    """Change of the price that a trade makes, as a share of the price.

    Printed: `S = Delta P / P`.

    Args:
        price_change: change of the price `Delta P`, currency.
        price: price before the trade `P`, currency, > 0.

    Returns:
        A fraction.

    Outside: NaN for a price of 0, where the document's division would stop.

    Protocol: Stake is not sold, and leaves at par: no price moves, but the wait grows
        (`jaxstake.protocol.queues.exit_wait`). With checks and gradients: `jaxstake.microstaking.pools.slippage`.

    Source: Micro-staking analysis, section 2.3.

    Example:
        >>> print(f"{slippage(price_change=30.0, price=3_000.0):.2f}")
        0.01
    """
    return divide(price_change, price)


def slippage_from_liquidity(*, liquidity: Scalar, scale: Scalar) -> Scalar:
    """Slippage in inverse proportion to liquidity.

    Printed: `S = Delta P / P ∝ 1 / L`, without the constant of proportionality, which is `scale` here.

    Args:
        liquidity: liquidity `L`, any unit, > 0.
        scale: constant of proportionality, a fraction times the unit of liquidity: the slippage at a liquidity of 1.

    Returns:
        A fraction.

    Outside: NaN for a liquidity of 0, where the document's division would stop.

    Protocol: There is no slippage in the protocol (`jaxstake.protocol.queues.exit_wait`). In a pool with the `L(p)` of
        section 2.2.1 a small trade `dx` moves the price by the share `dx / (p L(p))`: `scale` is the size of the trade,
        and no constant. With checks and gradients: `jaxstake.microstaking.pools.liquidity_density`.

    Source: Micro-staking analysis, section 2.3.

    Example:
        >>> print(f"{slippage_from_liquidity(liquidity=200.0, scale=2.0):.2f}")
        0.01
    """
    return divide(scale, liquidity)


def withdrawal_pressure(*, amounts: jax.Array) -> Scalar:
    """All withdrawals that wait.

    Printed: `Q_withdraw = sum_{i=1}^n w_i`. This `n` counts withdrawals, where all others count validators.

    Args:
        amounts: [W] amount of each waiting withdrawal `w_i`, ETH, >= 0.

    Returns:
        ETH.

    Outside: 0 for an empty queue; a negative amount is subtracted.

    Protocol: The sum alone is no pressure: what counts is how long it takes to drain, the sum over the churn limit
        (`jaxstake.protocol.queues.exit_queue_epochs`; request by request `jaxstake.protocol.queues.exit_epochs`).

    Source: Micro-staking analysis, section 2.3.

    Example:
        >>> float(withdrawal_pressure(amounts=jnp.array([32.0, 1.5, 0.5])))
        34.0
    """
    return jnp.sum(as_float(amounts))


def price_impact(impact: Callable[[Scalar], Scalar], *, withdrawal_pressure: Scalar) -> Scalar:
    """Change of the price that the waiting withdrawals make.

    Printed: `Delta P = f(Q_withdraw)`. The document never says what `f` is.

    Args:
        impact: `f`, from an amount in ETH to a change of the price, currency.
        withdrawal_pressure: all withdrawals that wait `Q_withdraw`, ETH, >= 0.

    Returns:
        Currency, as `impact` returns it.

    Outside: What `impact` says.

    Protocol: A queue has no price in the protocol. It delays (`jaxstake.protocol.queues.exit_wait`), and where a token
        can be redeemed, arbitrage holds its discount to about the interest lost over that wait. The standard model of a
        trade's own impact is the square root of its size over the daily volume. With checks and gradients:
        `jaxstake.microstaking.liquidity.withdrawal_price_impact`.

    Source: Micro-staking analysis, section 2.3.

    Example:
        >>> print(f"{price_impact(lambda queue: -0.001 * queue, withdrawal_pressure=34.0):.3f}")
        -0.034
    """
    return impact(withdrawal_pressure)
