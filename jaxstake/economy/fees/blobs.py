"""The fee for blobs of EIP-4844, in whole wei and as a smooth rule."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, in_domains, poison, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree, static
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.economy.fees.exact import INVALID, LARGEST_FEE_WEI, whole_number

GAS_PER_BLOB = 2**17
"""EIP-4844: blob gas of one blob."""
BLOB_BASE_COST = 2**13
"""EIP-7918: gas of the execution layer against which a blob is priced."""
LARGEST_FACTOR, LARGEST_DENOMINATOR, LARGEST_EXPONENT = 2**10, 2**25, 36
"""Bounds under which the result of `fake_exponential` fits 63 bits: `2^10 e^36 < 2^62`."""
_BITS, _LIMBS = 28, 4


@pytree
class BlobSchedule:
    """Parameters of the blob fee at one fork (EIP-7840 names them target, max and baseFeeUpdateFraction)."""

    target_blobs: Scalar = leaf(unit="blobs", domain=POSITIVE, meaning="blobs per block at which the fee stays")
    max_blobs: Scalar = leaf(unit="blobs", domain=POSITIVE, meaning="most blobs per block")
    update_fraction: Scalar = leaf(unit="blob gas", domain=POSITIVE, meaning="excess that raises the fee e-fold")
    reserve_price: bool = static(default=True, meaning="whether the fee follows the base fee from below (EIP-7918)")


_SCHEDULES = {
    "cancun": (3, 6, 3_338_477, False),
    "prague": (6, 9, 5_007_716, False),
    "osaka": (6, 9, 5_007_716, True),
    "bpo1": (10, 15, 8_346_193, True),
    "bpo2": (14, 21, 11_684_671, True),
}


def blob_schedule(name: str) -> BlobSchedule:
    """Parameters of the blob fee at a fork of the execution layer, in whole numbers.

    Args:
        name: "cancun" (March 2024), "prague" (May 2025), "osaka" (3 December 2025), "bpo1" (9 December 2025) or "bpo2"
            (7 January 2026).

    Raises:
        ValueError: the name is unknown.

    Source: EIP-4844 (Cancun), EIP-7691 (Prague), EIP-7918 (Osaka), and for the two forks that change blob parameters
    only (EIP-7892) `forks/bpo2/vm/gas.py` of the execution specifications, and for BPO1 go-ethereum's configuration.

    Example:
        >>> blob_schedule("prague").update_fraction
        5007716
    """
    if name not in _SCHEDULES:
        raise ValueError(f"unknown blob schedule '{name}'; known: {', '.join(_SCHEDULES)}")
    target, largest, fraction, reserve = _SCHEDULES[name]
    return BlobSchedule(target_blobs=target, max_blobs=largest, update_fraction=fraction, reserve_price=reserve)


def blob_base_fee_gwei(schedule: BlobSchedule, *, excess_blob_gas: Scalar) -> Scalar:
    """Fee per blob gas, gwei, as a smooth rule.

    Equation: `1 wei * exp(excess / update_fraction)`. The exact rule rounds down: it lies below by less than 1 wei and
    1e-8 of the fee (measured on random excesses of every schedule up to e^36 wei; 2e-9 for Cancun).

    Args:
        schedule: parameters.
        excess_blob_gas: blob gas used above the target so far, >= 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: EIP-4844, `get_base_fee_per_blob_gas`.

    Example:
        >>> print(f"{blob_base_fee_gwei(blob_schedule('prague'), excess_blob_gas=100e6):.4f}")
        0.4704
    """
    ok = in_domains({"schedule": schedule})
    excess_blob_gas = require_domain("excess_blob_gas", excess_blob_gas, NON_NEGATIVE)
    return poison(ok, jnp.exp(as_float(excess_blob_gas) / as_float(schedule.update_fraction)) / GWEI_PER_ETH)


def blob_burn_eth(*, blobs: Scalar, blob_base_fee_gwei: Scalar) -> Scalar:
    """ETH burned for the blobs of a block: 131,072 blob gas each, times the fee.

    Args:
        blobs: number of blobs, >= 0; a mean need not be whole.
        blob_base_fee_gwei: fee per blob gas, gwei, >= 0.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: EIP-4844.

    Example:
        >>> print(f"{blob_burn_eth(blobs=6.0, blob_base_fee_gwei=5.0):.6f}")
        0.003932
    """
    blobs = require_domain("blobs", blobs, NON_NEGATIVE)
    fee = require_domain("blob_base_fee_gwei", blob_base_fee_gwei, NON_NEGATIVE)
    return blobs * (GAS_PER_BLOB / GWEI_PER_ETH) * fee


def calculate_excess_blob_gas(
    schedule: BlobSchedule,
    *,
    parent_excess_blob_gas: Any,
    parent_blob_gas_used: Any,
    parent_base_fee_wei: Any = 0,
) -> jax.Array:
    """Excess blob gas of a block from its parent.

    Equation, with `t` the target in blob gas: 0 if `excess + used < t`; else `excess + used - t`; but with a reserve
    price, where `2^13 base_fee > 2^17 blob_fee`, `excess + used (max - target) // max`: below a sixteenth of the base
    fee the blob fee only rises.

    Args:
        schedule: parameters in whole numbers, as `blob_schedule` gives them.
        parent_excess_blob_gas: of the parent, blob gas, whole, in [0, 36 update_fraction].
        parent_blob_gas_used: in the parent, blob gas, whole, in [0, 2^30].
        parent_base_fee_wei: base fee per gas of the parent, wei, whole, in [0, 2^61].

    Returns:
        int64 scalar; -1 where a traced argument is out of range.

    Raises:
        ValueError: a concrete argument is out of range, or precision is single.
        TypeError: an argument is no whole number.

    Source: `calculate_excess_blob_gas` (execution specifications; Cancun, Osaka); EIP-4844, EIP-7918.

    Example:
        >>> with jax.enable_x64(True):
        ...     parent = {"parent_excess_blob_gas": 10**7, "parent_blob_gas_used": 9 * 2**17}
        ...     print(calculate_excess_blob_gas(blob_schedule("prague"), **parent))
        10393216
    """
    excess = whole_number("parent_excess_blob_gas", parent_excess_blob_gas, low=0, high=2**31)
    used = whole_number("parent_blob_gas_used", parent_blob_gas_used, low=0, high=2**30)
    base = whole_number("parent_base_fee_wei", parent_base_fee_wei, low=0, high=LARGEST_FEE_WEI)
    target_blobs = whole_number("schedule.target_blobs", schedule.target_blobs, low=1, high=2**13)
    max_blobs = whole_number("schedule.max_blobs", schedule.max_blobs, low=1, high=2**13)
    message = "schedule.max_blobs must be at least schedule.target_blobs = {target}, got {most}"
    confirm(max_blobs >= target_blobs, message, target=target_blobs, most=max_blobs)
    fee = calculate_blob_gas_price(schedule, excess_blob_gas=excess)
    total, target = excess + used, target_blobs * GAS_PER_BLOB
    following = total - target
    if schedule.reserve_price:
        # 2^13 base > 2^17 fee, without the product: fee < base / 16.
        dear = fee <= (base - 1) // (GAS_PER_BLOB // BLOB_BASE_COST)
        following = jnp.where(dear, excess + used * (max_blobs - target_blobs) // max_blobs, following)
    following = jnp.where(total < target, 0, following)
    fits = (fee >= 0) & (used >= 0) & (used <= 2**30) & (base >= 0) & (base <= LARGEST_FEE_WEI)
    return jnp.where(fits & (target_blobs >= 1) & (max_blobs >= target_blobs), following, INVALID)


def calculate_blob_gas_price(schedule: BlobSchedule, *, excess_blob_gas: Any) -> jax.Array:
    """Fee per blob gas of a block, wei.

    Equation: `fake_exponential(1, excess, update_fraction)`.

    Args:
        schedule: parameters in whole numbers, as `blob_schedule` gives them.
        excess_blob_gas: of the block, blob gas, whole, in [0, 36 update_fraction].

    Returns:
        int64 scalar; -1 where a traced argument is out of range.

    Raises:
        ValueError: a concrete argument is out of range, or precision is single.
        TypeError: an argument is no whole number.

    Source: `calculate_blob_gas_price` (execution specifications, Cancun); EIP-4844, `get_base_fee_per_blob_gas`.

    Example:
        >>> with jax.enable_x64(True):
        ...     print(calculate_blob_gas_price(blob_schedule("cancun"), excess_blob_gas=10**8))
        10203769476395
    """
    return fake_exponential(factor=1, numerator=excess_blob_gas, denominator=schedule.update_fraction)


def fake_exponential(*, factor: Any, numerator: Any, denominator: Any) -> jax.Array:
    """`factor * exp(numerator / denominator)` in whole numbers, by its series, each term rounded down.

    Equation: `(sum of a_i) // denominator` with `a_1 = factor denominator`, `a_(i+1) = a_i numerator // (denominator
    i)`, to the first that is 0. Terms outgrow 64 bits and are kept in four limbs of 28 bits.

    Args:
        factor: whole, in [1, 1024].
        numerator: whole, in [0, 36 denominator].
        denominator: whole, in [1, 2^25].

    Returns:
        int64 scalar; -1 where a traced argument is out of range.

    Raises:
        ValueError: a concrete argument is out of range, or precision is single.
        TypeError: an argument is no whole number.

    Source: `fake_exponential` (EIP-4844), `taylor_exponential` (execution specifications).

    Example:
        >>> with jax.enable_x64(True):
        ...     print(fake_exponential(factor=1, numerator=50_000_000, denominator=2_225_652))
        5709098764
    """
    factor = whole_number("factor", factor, low=1, high=LARGEST_FACTOR)
    denominator = whole_number("denominator", denominator, low=1, high=LARGEST_DENOMINATOR)
    numerator = whole_number("numerator", numerator, low=0, high=LARGEST_EXPONENT * LARGEST_DENOMINATOR)
    largest = LARGEST_EXPONENT * denominator
    confirm(numerator <= largest, "numerator must be at most {most}, got {value}", most=largest, value=numerator)
    fits = (factor >= 1) & (factor <= LARGEST_FACTOR) & (numerator >= 0) & (numerator <= largest)
    fits &= (denominator >= 1) & (denominator <= LARGEST_DENOMINATOR)
    factor, numerator, denominator = (jnp.where(fits, x, 1) for x in (factor, numerator, denominator))

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return jnp.any(state[1] > 0)

    def add(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        total, term, i = state
        return total + term, _scaled(term, numerator, denominator * i), i + 1

    first = _carried(jnp.zeros(_LIMBS, jnp.int64).at[0].set(factor * denominator))
    total = jax.lax.while_loop(unfinished, add, (jnp.zeros_like(first), first, jnp.ones((), jnp.int64)))[0]
    quotient = _scaled(_carried(total), jnp.ones_like(factor), denominator)
    return jnp.where(fits, jnp.sum(quotient << (_BITS * jnp.arange(_LIMBS))), INVALID)


def _scaled(limbs: jax.Array, numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """`limbs * numerator // denominator`, by long division from the highest limb; the lowest comes first."""
    rest, found = jnp.zeros_like(numerator), []
    for place in reversed(range(_LIMBS)):
        part = (rest << _BITS) + limbs[place] * numerator
        found.append(part // denominator)
        rest = part % denominator
    return _carried(jnp.stack(found[::-1]))


def _carried(limbs: jax.Array) -> jax.Array:
    """The same number with every limb below 2^28."""
    carry, found = jnp.zeros_like(limbs[0]), []
    for place in range(_LIMBS):
        whole = limbs[place] + carry
        found.append(whole & (2**_BITS - 1))
        carry = whole >> _BITS
    return jnp.stack(found)
