"""Section 2.2.1 of the micro-staking analysis: the constant-product pool and its depth."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.articles.arithmetic import divide
from jaxstake.core.numerics import as_float, keep_where, safe_sqrt
from jaxstake.core.typing import Scalar


def constant_product(*, reserve_x: Scalar, reserve_y: Scalar) -> Scalar:
    """Invariant of a constant-product pool.

    Printed: `k = x * y`.

    Args:
        reserve_x: reserve of the first asset `x`, its units, > 0.
        reserve_y: reserve of the second asset `y`, its units, > 0.

    Returns:
        The product, in units of one asset times units of the other.

    Outside: The product goes on for reserves of 0 or less, which no pool has.

    Protocol: There is no pool in the protocol; stake leaves through the exit queue
        (`jaxstake.protocol.queues.exit_wait`). The formula is that of the standard automated market maker. With checks
        and gradients: `jaxstake.microstaking.pools.ConstantProduct`.

    Source: Micro-staking analysis, section 2.2.1.

    Example:
        >>> float(constant_product(reserve_x=100.0, reserve_y=200.0))
        20000.0
    """
    return as_float(reserve_x) * as_float(reserve_y)


def amount_out(*, reserve_in: Scalar, reserve_out: Scalar, amount_in: Scalar) -> Scalar:
    """What a trade with a constant-product pool pays, without a fee.

    Printed: Not itself; it follows from `k = x * y`. `(x + dx)(y - dy) = x y` gives `dy = y dx / (x + dx)`.

    Args:
        reserve_in: reserve of the asset that is paid in `x`, its units, > 0.
        reserve_out: reserve of the asset that is paid out `y`, its units, > 0.
        amount_in: amount paid in `dx`, its units, > `-reserve_in`; negative is what is taken out instead.

    Returns:
        Amount paid out `dy`, units of the second asset, below `reserve_out`; negative is what must be paid in.

    Outside: NaN where the trade would empty the pool of the asset that is paid in; beyond that the formula goes on with
        no meaning.

    Protocol: There is no pool in the protocol. Real pools take a fee of the amount paid in; for stake itself the
        waiting time takes the place of the price (`jaxstake.protocol.queues.exit_wait`). With checks and gradients:
        `jaxstake.microstaking.pools.swap_out`.

    Source: Micro-staking analysis, section 2.2.1.

    Example:
        >>> float(amount_out(reserve_in=100.0, reserve_out=200.0, amount_in=100.0))
        100.0
    """
    amount_in = as_float(amount_in)
    return as_float(reserve_out) * divide(amount_in, as_float(reserve_in) + amount_in)


def depth(liquidity: Callable[[jax.Array], Scalar], *, price: Scalar, half_width: Scalar, nodes: int = 32) -> Scalar:
    """Liquidity within a band of prices.

    Printed: `D = integral from p - Delta to p + Delta of L(p) dp`, by Gauss-Legendre quadrature here. Section 2.3
        claims `D_micro > D_traditional`.

    Args:
        liquidity: `L`, from a price to the amount of the asset per unit of price. The document defines `L(t)`, a
            function of time, and never `L(p)`.
        price: middle of the band `p`, currency, > 0.
        half_width: half the width of the band `Delta`, currency, >= 0.
        nodes: number of prices at which `liquidity` is evaluated; it sets a shape, so it is not traced. Exact for
            polynomials up to degree `2 nodes - 1`.

    Returns:
        An amount of the asset.

    Outside: 0 for a band of no width, minus the depth for a negative one, and what `liquidity` says where the band
        reaches prices of 0 and less.

    Protocol: There is no market in the protocol, and no minimum stake changes one: stake leaves through the queue
        (`jaxstake.protocol.queues.exit_wait`), so that a depth is that of pools for tokens of staking services. With
        checks and gradients: `jaxstake.microstaking.pools.depth`.

    Source: Micro-staking analysis, section 2.2.1.

    Example:
        >>> print(f"{depth(lambda p: 2.0 * p, price=3.0, half_width=1.0):.3f}")
        12.000
    """
    price, half_width = as_float(price), as_float(half_width)
    dtype = jnp.result_type(price, half_width)
    positions, weights = (jnp.asarray(values, dtype) for values in np.polynomial.legendre.leggauss(nodes))
    return half_width * jnp.sum(weights * jax.vmap(liquidity)(price + half_width * positions))


def constant_product_liquidity(*, price: Scalar, product: Scalar) -> Scalar:
    """Amount of the asset that a constant-product pool sells per unit of price: an `L(p)` for `depth`.

    Printed: Not itself; it follows from `k = x * y`. At the price `p = y / x` the pool holds `x = sqrt(k / p)`, so
        `L(p) = -dx/dp = sqrt(k) / (2 p^1.5)`.

    Args:
        price: price of the asset `p`, units of the other asset, > 0.
        product: invariant of the pool `k`, >= 0.

    Returns:
        Units of the asset per unit of price.

    Outside: NaN for a price of 0 or less and for a negative product, which have no root; at a product of 0 the gradient
        in it is 0 (the true one is infinite).

    Protocol: There is no pool in the protocol (`jaxstake.protocol.queues.exit_wait`). Not to be confused with the `L`
        of concentrated liquidity, which is `sqrt(k)` itself. With checks and gradients:
        `jaxstake.microstaking.pools.liquidity_density`.

    Source: Micro-staking analysis, section 2.2.1.

    Example:
        >>> print(f"{constant_product_liquidity(price=4.0, product=100.0):.3f}")
        0.625
    """
    price, product = as_float(price), as_float(product)
    positive = price > 0
    inside = jnp.where(positive, price, 1.0)
    amount = safe_sqrt(product) / (2.0 * inside * jnp.sqrt(inside))
    return keep_where(positive & (product >= 0), amount, otherwise=jnp.nan)


def constant_product_depth(*, price: Scalar, half_width: Scalar, product: Scalar) -> Scalar:
    """The depth of a constant-product pool in closed form.

    Printed: Not itself; it is the printed integral of `L(p) = sqrt(k) / (2 p^1.5)`:
        `D = sqrt(k) (1 / sqrt(p - Delta) - 1 / sqrt(p + Delta))`.

    Args:
        price: middle of the band `p`, units of the other asset, > 0.
        half_width: half the width of the band `Delta`, units of the other asset, in [0, `price`).
        product: invariant of the pool `k`, >= 0.

    Returns:
        Units of the asset: what the pool sells while the price rises through the band.

    Outside: NaN where the band reaches a price of 0, and for a negative product; minus the depth for a negative width.
        At a product of 0 the gradient in it is 0 (the true one is infinite).

    Protocol: There is no pool in the protocol (`jaxstake.protocol.queues.exit_wait`). With checks and gradients:
        `jaxstake.microstaking.pools.depth`.

    Source: Micro-staking analysis, section 2.2.1.

    Example:
        >>> print(f"{constant_product_depth(price=2.5, half_width=1.5, product=100.0):.2f}")
        5.00
    """
    price, half_width, product = as_float(price), as_float(half_width), as_float(product)
    positive = (price - half_width > 0) & (price + half_width > 0)
    low = jnp.sqrt(jnp.where(positive, price - half_width, 1.0))
    high = jnp.sqrt(jnp.where(positive, price + half_width, 1.0))
    # The same difference of reciprocals, without the cancellation in a narrow band.
    amount = safe_sqrt(product) * (2.0 * half_width) / (low * high * (low + high))
    return keep_where(positive & (product >= 0), amount, otherwise=jnp.nan)
