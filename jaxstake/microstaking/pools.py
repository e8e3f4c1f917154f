"""Pools that sell one asset for another: constant product, concentrated liquidity and StableSwap.

`x` is the asset that is sold to the pool (a staking token, in its own units), `y` what the pool pays out (ETH). Prices
are units of y per unit of x. What a pool can be asked is in `pool_interface` and exported here too.

A reserve that is not positive and an amount that is negative are errors; traced, NaN in value and gradient.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxstake.core.checks import confirm, every, poison
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float, keep_where
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.pool_interface import (
    after_swap,
    capacity,
    depth,
    flipped,
    invariant,
    liquidity_density,
    narrow,
    poisoned,
    price_impact,
    scaled,
    slippage,
    sound,
    spot_price,
    swap_out,
)
from jaxstake.microstaking.stable_swap import StableSwap

__all__ = [
    "Concentrated",
    "ConstantProduct",
    "StableSwap",
    "after_swap",
    "capacity",
    "depth",
    "flipped",
    "invariant",
    "liquidity_density",
    "price_impact",
    "scaled",
    "slippage",
    "spot_price",
    "swap_out",
]


@pytree
class ConstantProduct:
    """Two reserves whose product stays: `x y = k`, no fee."""

    reserve_x: Scalar = leaf(unit="x", domain=POSITIVE, meaning="reserve of the asset sold to the pool")
    reserve_y: Scalar = leaf(unit="y", domain=POSITIVE, meaning="reserve of the asset that the pool pays")


@pytree
class Concentrated:
    """Liquidity of one position between two prices, no fee.

    Equation: `(x + l / sqrt(high)) (y + l sqrt(low)) = l^2`.

    Source: Adams et al., Uniswap v3 Core (2021), equation 2.2.
    """

    liquidity: Scalar = leaf(
        unit="sqrt(x y)", domain=POSITIVE, meaning="l, the root of the product of virtual reserves"
    )
    price: Scalar = leaf(unit="y/x", domain=POSITIVE, meaning="price now, from low to high")
    low: Scalar = leaf(unit="y/x", domain=POSITIVE, meaning="price at which the pool holds x only")
    high: Scalar = leaf(unit="y/x", domain=POSITIVE, meaning="price at which the pool holds y only")


# --- Constant product -------------------------------------------------------------------------------------------------


@invariant.register
def _(pool: ConstantProduct) -> Scalar:
    return poison(sound(pool), as_float(pool.reserve_x) * pool.reserve_y)


@spot_price.register
def _(pool: ConstantProduct) -> Scalar:
    return poison(sound(pool), as_float(pool.reserve_y) / pool.reserve_x)


@capacity.register
def _(pool: ConstantProduct) -> Scalar:
    return poison(sound(pool), jnp.inf)


@swap_out.register
def _(pool: ConstantProduct, *, amount_in: Scalar) -> Scalar:
    ok = sound(pool, amount_in=(amount_in, NON_NEGATIVE))
    return poison(ok, pool.reserve_y * (as_float(amount_in) / (as_float(pool.reserve_x) + amount_in)))


@after_swap.register
def _(pool: ConstantProduct, *, amount_in: Scalar) -> ConstantProduct:
    ok = sound(pool, amount_in=(amount_in, NON_NEGATIVE))
    reserve_x = as_float(pool.reserve_x) + amount_in
    reserve_y = pool.reserve_y * (as_float(pool.reserve_x) / reserve_x)
    return poisoned(ok, ConstantProduct(reserve_x=reserve_x, reserve_y=reserve_y))


@liquidity_density.register
def _(pool: ConstantProduct, *, price: Scalar) -> Scalar:
    ok = sound(pool, price=(price, POSITIVE))
    return poison(ok, _density(_virtual_liquidity(pool), as_float(price)))


@depth.register
def _(pool: ConstantProduct, *, half_width: Scalar) -> Scalar:
    ok, price = sound(pool, half_width=(half_width, POSITIVE)), spot_price(pool)
    amount = _sold(_virtual_liquidity(pool), price - half_width, price + half_width, 2.0 * as_float(half_width))
    return poison(every(ok, narrow(price, half_width)), amount)


@slippage.register
def _(pool: ConstantProduct, *, amount_in: Scalar) -> Scalar:
    ok = sound(pool, amount_in=(amount_in, NON_NEGATIVE))
    return poison(ok, as_float(amount_in) / (as_float(pool.reserve_x) + amount_in))


@flipped.register
def _(pool: ConstantProduct) -> ConstantProduct:
    return poisoned(sound(pool), ConstantProduct(reserve_x=pool.reserve_y, reserve_y=pool.reserve_x))


@scaled.register
def _(pool: ConstantProduct, *, factor: Scalar) -> ConstantProduct:
    ok, factor = sound(pool, factor=(factor, POSITIVE)), as_float(factor)
    return poisoned(ok, ConstantProduct(reserve_x=pool.reserve_x * factor, reserve_y=pool.reserve_y * factor))


def _virtual_liquidity(pool: ConstantProduct) -> Any:
    return jnp.sqrt(as_float(pool.reserve_x)) * jnp.sqrt(as_float(pool.reserve_y))


def _density(liquidity: Scalar, price: Any) -> Any:
    return 0.5 * liquidity / (price * jnp.sqrt(price))


def _sold(liquidity: Scalar, low: Any, high: Any, width: Any) -> Any:
    """`l (1 / sqrt(low) - 1 / sqrt(high))` from the width, so that a narrow band keeps its digits."""
    root_low, root_high = jnp.sqrt(low), jnp.sqrt(high)
    return liquidity * width / (root_low * root_high * (root_low + root_high))


# --- Concentrated liquidity -------------------------------------------------------------------------------------------


@invariant.register
def _(pool: Concentrated) -> Scalar:
    return poison(_ordered(pool), as_float(pool.liquidity))


@spot_price.register
def _(pool: Concentrated) -> Scalar:
    return poison(_ordered(pool), as_float(pool.price))


@capacity.register
def _(pool: Concentrated) -> Scalar:
    low, price = as_float(pool.low), as_float(pool.price)
    return poison(_ordered(pool), _sold(pool.liquidity, low, price, price - low))


@swap_out.register
def _(pool: Concentrated, *, amount_in: Scalar) -> Scalar:
    return poison(_fits(pool, amount_in), as_float(amount_in) * pool.price / (1.0 + _move(pool, amount_in)))


@after_swap.register
def _(pool: Concentrated, *, amount_in: Scalar) -> Concentrated:
    ok = _fits(pool, amount_in)
    price = as_float(pool.price) / (1.0 + _move(pool, amount_in)) ** 2
    price = jnp.where(ok & (price < pool.low), pool.low, price)  # a trade up to the end of the range, to rounding
    return poisoned(ok, dataclasses.replace(pool, price=price))


@liquidity_density.register
def _(pool: Concentrated, *, price: Scalar) -> Scalar:
    ok = every(_ordered(pool), sound(pool, price=(price, POSITIVE)))
    inside = (as_float(price) >= pool.low) & (as_float(price) <= pool.high)
    return poison(ok, keep_where(inside, _density(pool.liquidity, as_float(price)), otherwise=0.0))


@depth.register
def _(pool: Concentrated, *, half_width: Scalar) -> Scalar:
    ok = every(_ordered(pool), sound(pool, half_width=(half_width, POSITIVE)), narrow(pool.price, half_width))
    price = as_float(pool.price)
    down = jnp.minimum(half_width, price - pool.low)
    up = jnp.minimum(half_width, pool.high - price)
    return poison(ok, _sold(pool.liquidity, price - down, price + up, down + up))


@slippage.register
def _(pool: Concentrated, *, amount_in: Scalar) -> Scalar:
    move = _move(pool, amount_in)
    return poison(_fits(pool, amount_in), move / (1.0 + move))


@flipped.register
def _(pool: Concentrated) -> Concentrated:
    price, low, high = (1.0 / as_float(value) for value in (pool.price, pool.high, pool.low))
    return poisoned(_ordered(pool), dataclasses.replace(pool, price=price, low=low, high=high))


@scaled.register
def _(pool: Concentrated, *, factor: Scalar) -> Concentrated:
    ok = every(_ordered(pool), sound(pool, factor=(factor, POSITIVE)))
    return poisoned(ok, dataclasses.replace(pool, liquidity=pool.liquidity * as_float(factor)))


def _ordered(pool: Concentrated) -> Any:
    """Condition that the pool is sound and that its prices are in order."""
    low, price, high = pool.low, pool.price, pool.high
    order = (low <= price) & (price <= high) & (low < high)
    message = "pool must have low <= price <= high and low < high, got {low}, {price}, {high}"
    return every(sound(pool), confirm(order, message, low=low, price=price, high=high))


def _fits(pool: Concentrated, amount_in: Scalar) -> Any:
    """Condition that the trade ends inside the range."""
    ok = every(_ordered(pool), sound(pool, amount_in=(amount_in, NON_NEGATIVE)))
    message = "amount_in must be at most the capacity {most}, got {amount_in}"
    most = capacity(pool)
    return every(ok, confirm(amount_in <= most, message, amount_in=amount_in, most=most))


def _move(pool: Concentrated, amount_in: Scalar) -> Any:
    """The trade over the virtual reserve of x, `dx sqrt(p) / l`."""
    return as_float(amount_in) * jnp.sqrt(as_float(pool.price)) / pool.liquidity
