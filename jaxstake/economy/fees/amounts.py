"""What the fees of a block come to: burn and tips, in ETH."""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION
from jaxstake.core.numerics import as_float, positive_part
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.protocol.forks import Fork, slots_per_year


def burn_eth(*, gas_used: Scalar, base_fee_gwei: Scalar) -> Scalar:
    """ETH burned in a block: gas times base fee.

    Args:
        gas_used: gas used in the block, >= 0.
        base_fee_gwei: its base fee, gwei, >= 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: EIP-1559.

    Example:
        >>> print(f"{burn_eth(gas_used=15e6, base_fee_gwei=20.0):.4f}")
        0.3000
    """
    return _fee_eth(gas_used, "base_fee_gwei", base_fee_gwei)


def tips_eth(*, gas_used: Scalar, priority_fee_gwei: Scalar) -> Scalar:
    """ETH that the proposer of a block receives in priority fees: gas times priority fee.

    Args:
        gas_used: gas used, >= 0.
        priority_fee_gwei: priority fee that its transactions pay on average over gas, gwei, >= 0
            (`effective_priority_fee_gwei`).

    Raises:
        ValueError: a concrete argument is out of range.

    Source: EIP-1559.

    Example:
        >>> print(f"{tips_eth(gas_used=15e6, priority_fee_gwei=2.0):.4f}")
        0.0300
    """
    return _fee_eth(gas_used, "priority_fee_gwei", priority_fee_gwei)


def effective_priority_fee_gwei(
    *, max_priority_fee_gwei: Scalar, max_fee_gwei: Scalar, base_fee_gwei: Scalar
) -> Scalar:
    """What the proposer receives per gas of a transaction, gwei.

    Equation: `min(max_priority_fee, max_fee - base_fee)`, and 0 where the base fee exceeds the maximum: such a
    transaction waits. A legacy transaction bids one price, `max_priority_fee = max_fee`.

    Args:
        max_priority_fee_gwei: most that the sender gives the proposer, gwei, in [0, max_fee_gwei].
        max_fee_gwei: most that the sender pays in all, gwei, >= 0.
        base_fee_gwei: base fee of the block, gwei, >= 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: EIP-1559, "Specification"; `check_transaction` (execution specifications, London).

    Example:
        >>> bid = {"max_priority_fee_gwei": 2.0, "max_fee_gwei": 30.0}
        >>> [float(effective_priority_fee_gwei(**bid, base_fee_gwei=base)) for base in (20.0, 29.0, 31.0)]
        [2.0, 1.0, 0.0]
    """
    most = require_domain("max_priority_fee_gwei", max_priority_fee_gwei, NON_NEGATIVE)
    limit = require_domain("max_fee_gwei", max_fee_gwei, NON_NEGATIVE)
    base_fee_gwei = require_domain("base_fee_gwei", base_fee_gwei, NON_NEGATIVE)
    message = "max_priority_fee_gwei must be at most max_fee_gwei = {limit}, got {most}"
    factor = require(most <= limit, message, limit=limit, most=most)
    room = positive_part(limit - base_fee_gwei)
    return factor * jnp.minimum(as_float(most), room)


def burn_per_year_eth(fork: Fork, *, gas_used: Scalar, base_fee_gwei: Scalar, block_rate: Scalar = 1.0) -> Scalar:
    """ETH burned per year of 365.25 days at a steady use and base fee.

    Equation: `slots_per_year * block_rate * gas_used * base_fee`.

    Blocks use less gas where the base fee is high, so that the product of the means exceeds the mean of the products:
    with daily means the burn is overstated on every one of 142 days from October 2023 to February 2024, by 0.5 % to
    1.2 % and 0.76 % on average.

    Args:
        fork: constants.
        gas_used: mean gas used per block, >= 0.
        base_fee_gwei: mean base fee, gwei, >= 0.
        block_rate: share of slots with a block, in [0, 1].

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> from jaxstake.protocol import forks
        >>> print(f"{burn_per_year_eth(forks.get('fulu'), gas_used=15e6, base_fee_gwei=20.0):,.0f}")
        788,940
    """
    block_rate = require_domain("block_rate", block_rate, FRACTION)
    return slots_per_year(fork) * block_rate * burn_eth(gas_used=gas_used, base_fee_gwei=base_fee_gwei)


def break_even_base_fee_gwei(
    fork: Fork, *, issuance_eth_per_year: Scalar, gas_used: Scalar, block_rate: Scalar = 1.0
) -> Scalar:
    """Base fee at which the burn equals a yearly issuance, gwei: above it the supply shrinks.

    Equation: `issuance / (slots_per_year * block_rate * gas_used)`.

    Args:
        fork: constants.
        issuance_eth_per_year: ETH issued per year, >= 0, less what is burned for blobs.
        gas_used: mean gas used per block, > 0.
        block_rate: share of slots with a block, in (0, 1].

    Raises:
        ValueError: a concrete argument is out of range.

    Example:
        >>> from jaxstake.protocol import forks
        >>> fulu = forks.get("fulu")
        >>> print(f"{break_even_base_fee_gwei(fulu, issuance_eth_per_year=788_940, gas_used=15e6):.3f}")
        20.000
    """
    issuance_eth_per_year = require_domain("issuance_eth_per_year", issuance_eth_per_year, NON_NEGATIVE)
    gas_used = require_domain("gas_used", gas_used, POSITIVE)
    block_rate = require_domain("block_rate", block_rate, POSITIVE_FRACTION)
    return issuance_eth_per_year / (slots_per_year(fork) * block_rate) * (GWEI_PER_ETH / gas_used)


def _fee_eth(gas: Scalar, name: str, fee_gwei: Scalar) -> Scalar:
    gas = require_domain("gas_used", gas, NON_NEGATIVE)
    return gas / GWEI_PER_ETH * require_domain(name, fee_gwei, NON_NEGATIVE)
