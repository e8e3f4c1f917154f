"""Curve's pool of two pegged assets, asked through the interface of pools. The curve itself is in `stable_curve`."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxstake.core.checks import every, poison
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import stable_curve
from jaxstake.microstaking.pool_interface import (
    after_swap,
    capacity,
    depth,
    flipped,
    invariant,
    liquidity_density,
    narrow,
    poisoned,
    scaled,
    slippage,
    sound,
    spot_price,
    swap_out,
)


@pytree
class StableSwap:
    """Two pegged assets on Curve's invariant of two coins.

    Equation: `Ann (x + y) + D = Ann D + D^3 / (4 x y)`, `Ann = 2 A`. A = 0 is a constant product.

    Source: Egorov, StableSwap (2019), with `Ann = A n` as in Curve's contracts (`get_D`).
    """

    reserve_x: Scalar = leaf(unit="x", domain=POSITIVE, meaning="reserve of the asset sold to the pool")
    reserve_y: Scalar = leaf(unit="y", domain=POSITIVE, meaning="reserve of the asset that the pool pays")
    amplification: Scalar = leaf(domain=NON_NEGATIVE, meaning="A, as the pool's contract publishes it")
    fee: Scalar = leaf(default=0.0004, domain=PROPER_FRACTION, meaning="share of what is paid out that the pool keeps")


@invariant.register
def _(pool: StableSwap) -> Scalar:
    return poison(sound(pool), _point(pool).invariant)


@spot_price.register
def _(pool: StableSwap) -> Scalar:
    return poison(sound(pool), stable_curve.marginal_price(_point(pool)) * (1.0 - pool.fee))


@capacity.register
def _(pool: StableSwap) -> Scalar:
    return poison(sound(pool), jnp.inf)


@swap_out.register
def _(pool: StableSwap, *, amount_in: Scalar) -> Scalar:
    ok = sound(pool, amount_in=(amount_in, NON_NEGATIVE))
    price = stable_curve.average_price(_point(pool), amount_in=amount_in)
    return poison(ok, as_float(amount_in) * price * (1.0 - pool.fee))


@after_swap.register
def _(pool: StableSwap, *, amount_in: Scalar) -> StableSwap:
    ok = sound(pool, amount_in=(amount_in, NON_NEGATIVE))
    reserve_x = as_float(pool.reserve_x) + amount_in
    reserve_y = stable_curve.other_reserve(_point(pool), amount_in=amount_in)
    return poisoned(ok, dataclasses.replace(pool, reserve_x=reserve_x, reserve_y=reserve_y))


@liquidity_density.register
def _(pool: StableSwap, *, price: Scalar) -> Scalar:
    ok, kept = sound(pool, price=(price, POSITIVE)), 1.0 - as_float(pool.fee)
    return poison(ok, stable_curve.density(stable_curve.at_price(_point(pool), price=price / kept)) / kept)


@depth.register
def _(pool: StableSwap, *, half_width: Scalar) -> Scalar:
    ok, price = sound(pool, half_width=(half_width, POSITIVE)), spot_price(pool)
    ok = every(ok, narrow(price, half_width))
    now, kept = _point(pool), 1.0 - as_float(pool.fee)
    low = stable_curve.at_price(now, price=(price - half_width) / kept)
    high = stable_curve.at_price(now, price=(price + half_width) / kept)
    return poison(ok, low.size * low.x - high.size * high.x)


@slippage.register
def _(pool: StableSwap, *, amount_in: Scalar) -> Scalar:
    ok, now = sound(pool, amount_in=(amount_in, NON_NEGATIVE)), _point(pool)
    return poison(ok, 1.0 - stable_curve.average_price(now, amount_in=amount_in) / stable_curve.marginal_price(now))


@flipped.register
def _(pool: StableSwap) -> StableSwap:
    return poisoned(sound(pool), dataclasses.replace(pool, reserve_x=pool.reserve_y, reserve_y=pool.reserve_x))


@scaled.register
def _(pool: StableSwap, *, factor: Scalar) -> StableSwap:
    ok, factor = sound(pool, factor=(factor, POSITIVE)), as_float(factor)
    reserves = {"reserve_x": pool.reserve_x * factor, "reserve_y": pool.reserve_y * factor}
    return poisoned(ok, dataclasses.replace(pool, **reserves))


def _point(pool: StableSwap) -> stable_curve.Point:
    reserves = {"reserve_x": pool.reserve_x, "reserve_y": pool.reserve_y}
    return stable_curve.point(**reserves, amplification=pool.amplification)
