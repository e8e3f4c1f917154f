"""The base fee of EIP-1559 as a smooth rule, and where it drifts."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import established, in_domains, poison, require, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class GasMarket:
    """Parameters of the base fee, under the names of EIP-1559."""

    gas_limit: Scalar = leaf(unit="gas", domain=POSITIVE, meaning="gas limit of a block")
    elasticity_multiplier: Scalar = leaf(default=2.0, domain=Domain(1.0), meaning="gas limit over gas target")
    base_fee_max_change_denominator: Scalar = leaf(
        default=8.0, domain=Domain(1.0, open_low=True), meaning="an empty block lowers the base fee by one over this"
    )


def gas_target(market: GasMarket) -> Scalar:
    """Gas per block at which the base fee stays: the limit over the elasticity multiplier.

    Raises:
        ValueError: a concrete parameter is out of range.

    Example:
        >>> float(gas_target(GasMarket(gas_limit=30e6)))
        15000000.0
    """
    ok = in_domains({"market": market})
    return poison(ok, as_float(market.gas_limit / market.elasticity_multiplier))


def next_base_fee_gwei(market: GasMarket, *, base_fee_gwei: Scalar, gas_used: Scalar) -> Scalar:
    """Base fee of the next block, gwei per gas.

    Equation: `base (1 + (used / target - 1) / 8)`.

    The exact rule rounds a fall down, and a rise too but to 1 wei at least, so that it differs by less than 1 wei a
    block if the limit is even: `-1 < exact - smooth < 1` wei above the target, `0 <= exact - smooth < 1` below it.

    Args:
        market: parameters.
        base_fee_gwei: base fee of this block, gwei, >= 0.
        gas_used: gas used in this block, in [0, gas limit].

    Raises:
        ValueError: a concrete argument is out of range.

    Source: EIP-1559.

    Example:
        >>> market = GasMarket(gas_limit=30e6)
        >>> [float(next_base_fee_gwei(market, base_fee_gwei=8.0, gas_used=used)) for used in (0.0, 15e6, 30e6)]
        [7.0, 8.0, 9.0]
    """
    target = gas_target(market)
    base_fee_gwei = require_domain("base_fee_gwei", base_fee_gwei, NON_NEGATIVE)
    gas_used = _require_room(market, gas_used)
    return base_fee_gwei * (1.0 + (gas_used / target - 1.0) / market.base_fee_max_change_denominator)


def base_fee_path_gwei(market: GasMarket, *, base_fee_gwei: Scalar, gas_used: jax.Array) -> jax.Array:
    """Base fees along a chain of blocks, gwei per gas.

    Differs from the exact rule by less than the sum of 1 wei a block, each grown with the base fee since.

    Args:
        market: parameters.
        base_fee_gwei: base fee of the first block, gwei, >= 0.
        gas_used: [N] gas used in each block, in [0, gas limit].

    Returns:
        [N + 1] base fee of each block, and of the block after the last.

    Raises:
        ValueError: a concrete argument is out of range, or gas_used is no vector.

    Example:
        >>> used = jnp.asarray([30e6, 0.0])
        >>> base_fee_path_gwei(GasMarket(gas_limit=30e6), base_fee_gwei=8.0, gas_used=used).tolist()
        [8.0, 9.0, 7.875]
    """
    used = as_float(gas_used)
    if used.ndim != 1:
        raise ValueError(f"gas_used must be a vector [N], got shape {used.shape}")
    ok = in_domains({"market": market})
    used = as_float(_require_room(market, used))
    start = jnp.asarray(as_float(require_domain("base_fee_gwei", base_fee_gwei, NON_NEGATIVE)), used.dtype)

    def block(fee: jax.Array, gas: jax.Array) -> tuple[jax.Array, jax.Array]:
        with established():
            following = jnp.asarray(next_base_fee_gwei(market, base_fee_gwei=fee, gas_used=gas), fee.dtype)
        return following, following

    start = as_float(poison(ok, start))
    return jnp.concatenate([start[None], jax.lax.scan(block, start, used)[1]])


def expected_log_change(market: GasMarket, *, excess_mean: Scalar, excess_variance: Scalar) -> Scalar:
    """Expected change of the logarithm of the base fee per block, to second order.

    Equation, with x = used / target - 1 of mean m and variance v, and d the denominator: `E ln(1 + x / d)` is
    `m / d - (v + m^2) / (2 d^2)` and a rest of at most `E|x|^3 / (3 (d - 1)^3)` for |x| <= 1. With d = 8 and use
    around the target, m = 0, the base fee falls by v/128 a block: alternating full and empty blocks, v = 1, halve it
    in 88 blocks.

    Args:
        market: parameters, of which only the denominator counts.
        excess_mean: mean of x, at least -1 and finite.
        excess_variance: variance of x, >= 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> market = GasMarket(gas_limit=30e6)
        >>> float(expected_log_change(market, excess_mean=0.0, excess_variance=1.0))
        -0.0078125
    """
    ok = in_domains({"market": market})
    excess_mean = require_domain("excess_mean", excess_mean, Domain(-1.0))
    excess_variance = require_domain("excess_variance", excess_variance, NON_NEGATIVE)
    denominator = market.base_fee_max_change_denominator
    second = (excess_variance + excess_mean**2) / (2.0 * denominator**2)
    return poison(ok, as_float(excess_mean / denominator - second))


def steady_excess_mean(market: GasMarket, *, excess_variance: Scalar) -> Scalar:
    """Mean use above the target, as a share of the target, at which the base fee neither rises nor falls for long.

    Equation: the zero of `expected_log_change`, `m = v / (d + sqrt(d^2 - v))`, v/16 for d = 8. A steady base fee means
    more gas than the target, because a rise and a fall by the same share do not cancel.

    Args:
        market: parameters, of which only the denominator counts.
        excess_variance: variance of x = used / target - 1, >= 0 and less than the denominator squared.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> print(f"{steady_excess_mean(GasMarket(gas_limit=30e6), excess_variance=0.16):.4f}")
        0.0100
    """
    ok = in_domains({"market": market})
    excess_variance = require_domain("excess_variance", excess_variance, NON_NEGATIVE)
    denominator = market.base_fee_max_change_denominator
    square = as_float(denominator**2)
    message = "excess_variance must be less than the denominator squared = {square}, got {variance}"
    factor = require(excess_variance < square, message, square=square, variance=excess_variance)
    root = jnp.sqrt(jnp.where(excess_variance < square, square - excess_variance, 1.0))
    return poison(ok, as_float(factor * excess_variance / (denominator + root)))


def _require_room(market: GasMarket, gas_used: Scalar) -> Scalar:
    """Gas used, checked to lie between nothing and the limit."""
    gas_used = require_domain("gas_used", gas_used, NON_NEGATIVE)
    message = "gas_used must be at most market.gas_limit = {limit}, got {used}"
    return require(gas_used <= market.gas_limit, message, limit=market.gas_limit, used=gas_used) * gas_used
