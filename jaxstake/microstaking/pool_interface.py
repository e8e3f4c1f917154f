"""The interface of a pool that sells one asset for another; the kinds of pools are in `pools`, which exports it too.

`x` is the asset that is sold to the pool (a staking token, in its own units), `y` what the pool pays out (ETH). Prices
are units of y per unit of x. Each function dispatches on the pool, and a new kind of pool registers its own
(`@spot_price.register`). All take scalars; to trade the other way, `flipped` exchanges x and y.
"""

from __future__ import annotations

import functools
from typing import Any, NoReturn, TypeVar

import jax

from jaxstake.core.checks import confirm, every, in_domains, poison
from jaxstake.core.domain import Domain
from jaxstake.core.typing import Scalar

Pool = TypeVar("Pool")


def _unknown(pool: Any) -> NoReturn:
    raise TypeError(f"not a pool: {type(pool).__name__}")


@functools.singledispatch
def invariant(pool: Any) -> Scalar:
    """What a trade leaves as it is. Constant product `x y`; concentrated `l`; StableSwap `D`.

    Example:
        >>> from jaxstake.microstaking import pools
        >>> print(f"{pools.invariant(pools.StableSwap(reserve_x=100.0, reserve_y=100.0, amplification=50.0)):.3f}")
        200.000
    """
    _unknown(pool)


@functools.singledispatch
def spot_price(pool: Any) -> Scalar:
    """Price of a vanishing trade, units of y per x, after the pool's fee.

    Equation: constant product `y / x`; StableSwap `(1 - fee) (Ann + K / x) / (Ann + K / y)`, `K = D^3 / (4 x y)`.

    Example:
        >>> from jaxstake.microstaking import pools
        >>> print(f"{pools.spot_price(pools.StableSwap(reserve_x=300.0, reserve_y=100.0, amplification=50.0)):.4f}")
        0.9662
    """
    _unknown(pool)


@functools.singledispatch
def capacity(pool: Any) -> Scalar:
    """Largest amount of x that the pool takes; infinite but for `Concentrated`: `l / sqrt(low) - l / sqrt(price)`."""
    _unknown(pool)


@functools.singledispatch
def swap_out(pool: Any, *, amount_in: Scalar) -> Scalar:
    """Amount of y that the pool pays for `amount_in` of x, after its fee.

    Equation: constant product `y dx / (x + dx)`; concentrated the same with virtual reserves; StableSwap the step of y
    along the curve times (1 - fee). Nothing cancels, so that small trades keep their digits.

    Args:
        pool: the pool before the trade.
        amount_in: units of x, >= 0 and at most `capacity(pool)`.

    Returns:
        Units of y, below the reserve.

    Raises:
        ValueError: a concrete value is outside its range, or the pool's prices are not in order.

    Example:
        >>> from jaxstake.microstaking import pools
        >>> float(pools.swap_out(pools.ConstantProduct(reserve_x=100.0, reserve_y=200.0), amount_in=100.0))
        100.0
    """
    _unknown(pool)


@functools.singledispatch
def after_swap(pool: Any, *, amount_in: Scalar) -> Any:
    """The pool after `swap_out`. A fee leaves the pool (Curve's keeps a part of it), so that the invariant stays."""
    _unknown(pool)


@functools.singledispatch
def liquidity_density(pool: Any, *, price: Scalar) -> Scalar:
    """`L(p) = -dx/dp`: what the pool would sell per unit of price if its spot price were `price`; units of x per price.

    Equation: constant product `sqrt(k) / (2 p^1.5)`; concentrated `l / (2 p^1.5)` in its range and 0 outside.

    Raises:
        ValueError: price is concrete and not positive, or the pool is none.
    """
    _unknown(pool)


@functools.singledispatch
def depth(pool: Any, *, half_width: Scalar) -> Scalar:
    """What the pool sells while its spot price p rises through a band around it, units of x.

    Equation: `D = x(p - delta) - x(p + delta)`, the integral of `L(p)`, along the invariant. Closed for constant
    product and concentrated liquidity (`l (1 / sqrt(a) - 1 / sqrt(b))`, the band cut to the range); StableSwap is
    solved at both ends.

    Args:
        pool: the pool.
        half_width: delta, units of y per x, in (0, p).

    Raises:
        ValueError: half_width is concrete and outside its range, or the pool is none.

    Example:
        >>> from jaxstake.microstaking import pools
        >>> print(f"{pools.depth(pools.ConstantProduct(reserve_x=4.0, reserve_y=25.0), half_width=3.75):.3f}")
        3.162
    """
    _unknown(pool)


@functools.singledispatch
def slippage(pool: Any, *, amount_in: Scalar) -> Scalar:
    """How far the average price of a trade lies below the spot price, as a fraction of the spot price.

    Equation: `S = 1 - (out / dx) / p = dx / (2 p L(p)) + O(dx^2)`; constant product exactly `dx / (x + dx)`. The fee is
    in both prices, so that it is no slippage; 0 for no trade.

    Example:
        >>> from jaxstake.microstaking import pools
        >>> print(f"{pools.slippage(pools.ConstantProduct(reserve_x=99.0, reserve_y=200.0), amount_in=1.0):.2f}")
        0.01
    """
    _unknown(pool)


def price_impact(pool: Any, *, amount_in: Scalar) -> Scalar:
    """How far a trade lowers the spot price, as a fraction of it.

    Equation: `1 - p_after / p = dx / (p L(p)) + O(dx^2)`, twice the slippage to first order.

    Example:
        >>> from jaxstake.microstaking import pools
        >>> print(f"{pools.price_impact(pools.ConstantProduct(reserve_x=100.0, reserve_y=200.0), amount_in=100.0):.2f}")
        0.75
    """
    return 1.0 - spot_price(after_swap(pool, amount_in=amount_in)) / spot_price(pool)


@functools.singledispatch
def flipped(pool: Any) -> Any:
    """The same pool with x and y exchanged, to sell y for x."""
    _unknown(pool)


@functools.singledispatch
def scaled(pool: Any, *, factor: Scalar) -> Any:
    """The pool with `factor` (> 0) times the liquidity at every price."""
    _unknown(pool)


def sound(pool: Any, **arguments: tuple[Scalar, Domain]) -> Any:
    """Condition that pool and arguments lie in their domains; raise if one is known not to."""
    stated = (
        confirm(domain.contains(value), f"{name} must be {domain.rule}, got {{value}}", value=value)
        for name, (value, domain) in arguments.items()
    )
    return every(in_domains({"pool": pool}), *stated)


def narrow(price: Scalar, half_width: Scalar) -> Any:
    """Condition that a band around the price stays above 0; raise if it is known not to."""
    message = "half_width must be less than the spot price, got {half_width}"
    return confirm(half_width < price, message, half_width=half_width)


def poisoned(ok: Any, pool: Pool) -> Pool:
    """The pool with every leaf NaN where the condition fails."""
    return jax.tree.map(lambda leaf: poison(ok, leaf), pool)
