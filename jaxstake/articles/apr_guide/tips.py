"""Section 4.2 of the APR guide: tips."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.articles.arithmetic import divide
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Tips:
    """What `tips_reward_model` returns."""

    average_gas_price_gwei: Scalar = leaf(unit="Gwei")
    tips_per_block: Scalar = leaf(unit="ETH")
    blocks_per_year: Scalar = leaf(unit="blocks/year")
    annual_tips: Scalar = leaf(unit="ETH/year", meaning="of all validators")


@pytree
class ValidatorTips:
    """Columns of the table of section 4.2."""

    proposals_per_year: Scalar = leaf(unit="1/year")
    annual_tips: Scalar = leaf(unit="ETH/year")


def tips_reward_model(
    *, block_gas_used: Scalar = 15e6, mean_gas_price: Scalar = 30.0, tips_fraction: Scalar = 0.2
) -> Tips:
    """Tips of a block and of all blocks of a year.

    Printed: `tips = gas used * 30 Gwei * 0.2`, "the base fee is 80 %, tips are 20 %". The history of gas prices that it
        takes is not used.

    Args:
        block_gas_used: gas, >= 0.
        mean_gas_price: Gwei per gas, >= 0.
        tips_fraction: share of the gas price that is a tip, a fraction.

    Returns:
        `Tips`.

    Outside: Any number is multiplied as it is.

    Protocol: No rule ties tips to the base fee (EIP-1559): what a block pays its proposer, tips included, was 0.011 ETH
        at the median in 2026, against 0.09 ETH here, and the payments that relays report contain the tips already:
        `jaxstake.data.block_values.get`.

    Source: APR guide, section 4.2, `tips_reward_model`.

    Example:
        >>> found = tips_reward_model()
        >>> print(f"{found.tips_per_block:.2f} {found.annual_tips:.0f}")
        0.09 236520
    """
    tips_per_block = block_gas_used * mean_gas_price * tips_fraction * 1e-9
    blocks_per_year = 225 * 365 * 32
    return Tips(
        average_gas_price_gwei=mean_gas_price,
        tips_per_block=tips_per_block,
        blocks_per_year=blocks_per_year,
        annual_tips=tips_per_block * blocks_per_year,
    )


def tips_formula(*, gas_prices: jax.Array, gas_used: jax.Array) -> Scalar:
    """Tips of a block from its transactions, as the docstring states it and no code computes it.

    Printed: `Tips = sum_i GasPrice_i * GasUsed_i`.

    Args:
        gas_prices: [T] Gwei per gas.
        gas_used: [T] gas.

    Returns:
        Gwei.

    Outside: 0 for a block without transactions.

    Protocol: The base fee, in the gas price, is burnt; only the priority fee is the proposer's (EIP-1559):
        `jaxstake.economy.scenario.Network`.

    Source: APR guide, section 4.2, docstring of `tips_reward_model`.
    """
    return jnp.sum(as_float(gas_prices) * as_float(gas_used))


def validator_tips(
    *, validator_count: Scalar, tips_per_block: Scalar, blocks_per_year: Scalar = 225 * 365 * 32
) -> ValidatorTips:
    """Tips of one validator in a year.

    Printed: `blocks_per_year / n * tips_per_block`, with the factor of 32 that the MEV of section 4.1 lacks.

    Args:
        validator_count: `n`, > 0.
        tips_per_block: ETH, >= 0.
        blocks_per_year: blocks.

    Returns:
        `ValidatorTips`.

    Outside: NaN for no validators, where the document's code stops with a division by zero.

    Protocol: Right for the tips that it is given, if every slot has a block: `jaxstake.economy.apr.apr`.

    Source: APR guide, section 4.2, the loop below `tips_reward_model`.
    """
    proposals = divide(blocks_per_year, validator_count)
    return ValidatorTips(proposals_per_year=proposals, annual_tips=tips_per_block * proposals)
