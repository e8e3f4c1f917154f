"""The StableSwap curve of two pegged assets, in shares of the pool: one cubic with its implicit derivative.

With `Ann = 2 A`, `S = x + y` and `K = D^3 / (4 x y)` the curve is `K + (Ann - 1) D = Ann S` (Curve's `get_D`). In
shares, `d = D / S`, `g = 4 x y / S^2` and `w = 1 / (1 + Ann)`, it is `w d^3 / g + (1 - 2 w) d = 1 - w`: the root is
between `sqrt(g)` (A = 0, constant product) and 1 (A without bound, constant sum). Everything else is closed: two
points of one curve satisfy a quadratic.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.solve import solve_bracketed
from jaxstake.core.typing import Scalar

NEWTON_STEPS = 8
"""Steps to rounding from the start of `_share`, whatever the pool; the slowest takes 7 in double precision."""


@pytree
class Point:
    """A point of a curve: reserves as shares of their sum, and the weights of the two parts of the invariant."""

    size: Any = leaf(meaning="x + y")
    x: Any = leaf(meaning="x / (x + y)")
    y: Any = leaf(meaning="y / (x + y)")
    weight: Any = leaf(meaning="w = 1 / (1 + 2 A)")
    bend: Any = leaf(meaning="w K / (x + y), the weight of the constant product against the 1 - w of the constant sum")
    invariant: Any = leaf(meaning="D, in the unit of the size")


def point(*, reserve_x: Scalar, reserve_y: Scalar, amplification: Scalar) -> Point:
    """The point at which a pool stands; both reserves positive, amplification `A` at least 0 (`Ann = 2 A`)."""
    given = [as_float(value) for value in (reserve_x, reserve_y, amplification)]
    x, y, amplification = (jnp.asarray(value, jnp.result_type(*given)) for value in given)
    size = x + y
    return _point(size, x / size, y / size, 1.0 / (1.0 + 2.0 * amplification))


def marginal_price(at: Point) -> Any:
    """`-dy/dx` along the curve: `(Ann + K / x) / (Ann + K / y)`."""
    flat = 1.0 - at.weight
    return (flat + at.bend / at.x) / (flat + at.bend / at.y)


def average_price(at: Point, *, amount_in: Scalar) -> Any:
    """Amount of y per unit of x for a whole trade along the curve; the marginal price at 0.

    Equation: with `x' = x + dx`, the difference of the curve at both ends is a quadratic in `dy`; its smaller root over
    `dx` is `2 y (Ann + K / x') / (Ann (dx + y) + K + sqrt((Ann (y - dx) - K)^2 + 4 Ann K x y / x'))`, in which
    nothing cancels however small the trade.
    """
    flat, bend = 1.0 - at.weight, at.bend
    added = amount_in / at.size
    after = at.x + added
    root = jnp.sqrt((flat * (at.y - added) - bend) ** 2 + 4.0 * flat * bend * at.y * (at.x / after))
    return 2.0 * at.y * (flat + bend / after) / (flat * (added + at.y) + bend + root)


def other_reserve(at: Point, *, amount_in: Scalar) -> Any:
    """Reserve of y after a trade along the curve, y less what is paid.

    Equation: of a trade that takes most of y, the positive root of `Ann y'^2 + (Ann (x' - D) + D) y' = D^3 / (4 x')`,
    which holds the invariant to rounding where the difference would leave nothing but rounding.
    """
    flat, after = 1.0 - at.weight, at.x + amount_in / at.size
    paid = (amount_in / at.size) * average_price(at, amount_in=amount_in)
    share = at.invariant / at.size
    linear = flat * (after - share) + at.weight * share
    constant = at.weight * share * share * (share / after)
    root = jnp.sqrt(linear * linear + flat * constant)
    falling = linear < 0
    sum_of_both = root + jnp.where(falling, -linear, linear)
    left = jnp.where(falling, sum_of_both / (2.0 * jnp.where(falling, flat, 1.0)), 0.5 * constant / sum_of_both)
    return at.size * jnp.where(paid > 0.5 * at.y, left, at.y - paid)


def at_price(at: Point, *, price: Scalar) -> Point:
    """The point of the same curve with another marginal price, found in the logarithm of `y / x`.

    The ratio is at least as far from 1 as the price, and at most by the factor `1 + max(1, Ann)` farther.
    """
    log_price = jnp.log(price)
    widest = jnp.log(1.0 + jnp.maximum(1.0, 1.0 / at.weight - 1.0)) + 0.01
    low = log_price - jnp.where(log_price <= 0, widest, 0.01)
    high = log_price + jnp.where(log_price >= 0, widest, 0.01)

    def excess(log_ratio: Any) -> Any:
        return jnp.log(marginal_price(_of_ratio(log_ratio, at.weight))) - log_price

    unit = _of_ratio(solve_bracketed(excess, low=low, high=high).value, at.weight)
    size = at.invariant / unit.invariant
    return _point(size, unit.x, unit.y, at.weight)


def density(at: Point) -> Any:
    """`-dx/dp` along the curve, p the marginal price; units of x per unit of price."""
    price = marginal_price(at)
    by_x, by_y = 1.0 / at.x, price / at.y
    steepness = at.bend * (by_x**2 + by_y**2 + (by_x - by_y) ** 2) / (1.0 - at.weight + at.bend / at.y)
    return at.size / steepness


def _of_ratio(log_ratio: Any, weight: Any) -> Point:
    """The point of size 1 with this logarithm of `y / x`."""
    return _point(jnp.ones_like(log_ratio), jax.nn.sigmoid(-log_ratio), jax.nn.sigmoid(log_ratio), weight)


def _point(size: Any, x: Any, y: Any, weight: Any) -> Point:
    balance = 4.0 * x * y
    share = _share(balance, weight)
    bend = weight * share**3 / balance
    return Point(size=size, x=x, y=y, weight=weight, bend=bend, invariant=size * share)


@jax.custom_jvp
def _share(balance: Any, weight: Any) -> Any:
    """The root d of `w d^3 / g + (1 - 2 w) d = 1 - w`.

    Newton's steps from `min(1, sqrt(g) + (g Ann)^(1/3))`, at which the function is not negative: it is convex, so
    they fall to the root.
    """
    start = jnp.minimum(1.0, jnp.sqrt(balance) + jnp.cbrt(balance * (1.0 / weight - 1.0)))
    return jax.lax.fori_loop(0, NEWTON_STEPS, _newton, (start, balance, weight))[0]


def _newton(_: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    share, balance, weight = state
    bent = weight * (share * share / balance)
    return (1.0 - weight + 2.0 * bent * share) / (3.0 * bent + 1.0 - 2.0 * weight), balance, weight


@_share.defjvp
def _share_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The implicit derivative; it calls `_share` again, so that higher derivatives follow."""
    balance, weight = primals
    share = _share(balance, weight)
    ratio = share * share / balance
    by_balance = -weight * share * ratio / balance
    by_weight = share * ratio - 2.0 * share + 1.0
    by_share = 3.0 * weight * ratio + 1.0 - 2.0 * weight
    return share, -(by_balance * tangents[0] + by_weight * tangents[1]) / by_share
