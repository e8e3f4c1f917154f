"""Demand for gas that falls with the base fee, and the base fee that it settles at."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import established, in_domains, poison, require_domain
from jaxstake.core.domain import POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.fees.smooth import GasMarket, gas_target, next_base_fee_gwei


@pytree
class Demand:
    """Demand for gas of constant elasticity: a quantity at a price, and how it reacts."""

    gas: Scalar = leaf(unit="gas", domain=POSITIVE, meaning="gas demanded per block at the reference")
    base_fee_gwei: Scalar = leaf(unit="gwei", domain=POSITIVE, meaning="base fee of the reference")
    elasticity: Scalar = leaf(domain=POSITIVE, meaning="fall of the demand in percent as the base fee rises by one")


def gas_demanded(demand: Demand, *, base_fee_gwei: Scalar) -> Scalar:
    """Gas demanded per block at a base fee, whether or not a block has room for it.

    Equation: `gas (base / reference)^-elasticity`.

    Args:
        demand: parameters.
        base_fee_gwei: base fee, gwei, > 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> demand = Demand(gas=20e6, base_fee_gwei=10.0, elasticity=1.0)
        >>> print(f"{gas_demanded(demand, base_fee_gwei=20.0):.5g}")
        1e+07
    """
    ok = in_domains({"demand": demand})
    base_fee_gwei = require_domain("base_fee_gwei", base_fee_gwei, POSITIVE)
    relative = jnp.log(as_float(base_fee_gwei)) - jnp.log(as_float(demand.base_fee_gwei))
    return poison(ok, demand.gas * jnp.exp(-demand.elasticity * relative))


def equilibrium_base_fee_gwei(market: GasMarket, demand: Demand) -> Scalar:
    """Base fee at which the gas demanded is the target, gwei.

    Equation: `reference (gas / target)^(1 / elasticity)`.

    Args:
        market: parameters of the base fee.
        demand: parameters of the demand.

    Raises:
        ValueError: a concrete parameter is out of range.

    Example:
        >>> demand = Demand(gas=30e6, base_fee_gwei=10.0, elasticity=0.5)
        >>> print(f"{equilibrium_base_fee_gwei(GasMarket(gas_limit=30e6), demand):.4g}")
        40
    """
    ok = in_domains({"demand": demand})
    surplus = jnp.log(as_float(demand.gas)) - jnp.log(as_float(gas_target(market)))
    return poison(ok, demand.base_fee_gwei * jnp.exp(surplus / demand.elasticity))


def base_fee_path_under_demand_gwei(
    market: GasMarket, demand: Demand, *, base_fee_gwei: Scalar, blocks: int
) -> jax.Array:
    """Base fees along a chain whose blocks hold the gas demanded, up to the limit, gwei per gas.

    Near the equilibrium a distance shrinks by the factor `1 - elasticity / 8` a block, so that the path converges for
    an elasticity below 16 (twice the denominator), without swinging below 8.

    Args:
        market: parameters of the base fee.
        demand: parameters of the demand.
        base_fee_gwei: base fee of the first block, gwei, > 0.
        blocks: number of blocks, >= 0; static.

    Returns:
        [blocks + 1] base fee of each block, and of the block after the last.

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> market, demand = GasMarket(gas_limit=30e6), Demand(gas=30e6, base_fee_gwei=10.0, elasticity=0.5)
        >>> path = base_fee_path_under_demand_gwei(market, demand, base_fee_gwei=10.0, blocks=300)
        >>> print(f"{path[0]:.4g} {path[1]:.5g} {path[-1]:.4g}")
        10 11.25 40
    """
    if blocks < 0:
        raise ValueError(f"blocks must be at least 0, got {blocks}")
    ok = in_domains({"market": market, "demand": demand})
    start = as_float(require_domain("base_fee_gwei", base_fee_gwei, POSITIVE))
    # The carry of the scan needs the precision of its result, which is that of all arguments together.
    dtype = jnp.result_type(start, *map(as_float, jax.tree.leaves((market, demand))))
    start = as_float(poison(ok, jnp.asarray(start, dtype)))

    def block(fee: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        with established():
            wanted = gas_demanded(demand, base_fee_gwei=fee)
            used = jnp.minimum(wanted, as_float(market.gas_limit))
            following = jnp.asarray(next_base_fee_gwei(market, base_fee_gwei=fee, gas_used=used), dtype)
        return following, following

    return jnp.concatenate([start[None], jax.lax.scan(block, start, length=blocks)[1]])
