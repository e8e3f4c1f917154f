"""The base fee of EIP-1559 in whole wei, bit for bit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.checks import confirm

ELASTICITY_MULTIPLIER = 2
"""EIP-1559: gas limit over gas target."""
BASE_FEE_MAX_CHANGE_DENOMINATOR = 8
"""EIP-1559: a full block raises the base fee by one eighth."""
LARGEST_GAS = 10**9
"""Largest gas limit for which no product below leaves 63 bits; mainnet is at 60 million in 2026."""
LARGEST_FEE_WEI = 2**61
"""Largest base fee for which no step below leaves 63 bits, at any gas limit; 2.3 ETH per gas."""
INVALID = -1
"""What a traced value out of range gives: whole numbers have no NaN, and no fee is negative."""


def calculate_base_fee_per_gas(*, parent_gas_limit: Any, parent_gas_used: Any, parent_base_fee_wei: Any) -> jax.Array:
    """Base fee of a block from its parent, wei per gas.

    Equation, with target `t = limit // 2`, all divisions rounded down: equal use, no change; more,
    `base + max(base (used - t) // t // 8, 1)`; less, `base - base (t - used) // t // 8`. The product is split,
    `base = a t + b`, so that it never leaves 63 bits.

    Args:
        parent_gas_limit: gas limit of the parent, whole, in [2, 10^9].
        parent_gas_used: gas used in the parent, whole, in [0, parent_gas_limit].
        parent_base_fee_wei: base fee of the parent, wei, whole, in [0, 2^61].

    Returns:
        int64 scalar; -1 where a traced argument is out of range.

    Raises:
        ValueError: a concrete argument is out of range, or precision is single.
        TypeError: an argument is no whole number.

    Source: EIP-1559; `calculate_base_fee_per_gas` (execution specifications, London to Osaka), without the check of
    the block's own gas limit.

    Example:
        >>> with jax.enable_x64(True):
        ...     for used in (0, 15_000_000, 30_000_000):
        ...         parent = {"parent_gas_limit": 30_000_000, "parent_gas_used": used}
        ...         print(calculate_base_fee_per_gas(**parent, parent_base_fee_wei=1_000_000_000))
        875000000
        1000000000
        1125000000
    """
    limit = whole_number("parent_gas_limit", parent_gas_limit, low=2, high=LARGEST_GAS)
    used = whole_number("parent_gas_used", parent_gas_used, low=0, high=LARGEST_GAS)
    base = whole_number("parent_base_fee_wei", parent_base_fee_wei, low=0, high=LARGEST_FEE_WEI)
    _require_room(used, limit)
    return _next_wei(base, used, limit)


def base_fee_path_wei(*, gas_used: Any, gas_limit: Any, base_fee_wei: Any) -> jax.Array:
    """Base fees along a chain of blocks, wei per gas.

    Args:
        gas_used: [N] gas used in each block, whole, in [0, gas_limit].
        gas_limit: [N] gas limit of each block, or one number for all, whole, in [2, 10^9].
        base_fee_wei: base fee of the first block, wei, whole, in [0, 2^61].

    Returns:
        [N + 1] int64: base fee of each block, and of the block after the last; -1 from where a traced argument is out
        of range, or a base fee grows beyond 2^61 wei.

    Raises:
        ValueError: a concrete argument is out of range, gas_used is no vector, gas_limit has another length, or
            precision is single.
        TypeError: an argument is no whole number.

    Source: as `calculate_base_fee_per_gas`.

    Example:
        >>> with jax.enable_x64(True):
        ...     used = np.asarray([20_000_000, 0])
        ...     print(base_fee_path_wei(gas_used=used, gas_limit=20_000_000, base_fee_wei=8_000))
        [8000 9000 7875]
    """
    used = whole_number("gas_used", gas_used, low=0, high=LARGEST_GAS)
    limit = whole_number("gas_limit", gas_limit, low=2, high=LARGEST_GAS)
    base = whole_number("base_fee_wei", base_fee_wei, low=0, high=LARGEST_FEE_WEI)
    if used.ndim != 1:
        raise ValueError(f"gas_used must be a vector [N], got shape {used.shape}")
    if limit.shape not in ((), used.shape):
        raise ValueError(f"gas_limit must be a number or {list(used.shape)}, got shape {limit.shape}")
    limits = jnp.broadcast_to(limit, used.shape)
    _require_room(used, limits)

    def block(fee: jax.Array, gas: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        following = _next_wei(fee, *gas)
        return following, following

    start = jnp.where(_within(base, 0, LARGEST_FEE_WEI), base, INVALID)
    return jnp.concatenate([start[None], jax.lax.scan(block, start, (used, limits))[1]])


def whole_number(name: str, value: Any, *, low: int, high: int) -> jax.Array:
    """The value as int64, checked where it is concrete to lie in [low, high].

    Raises:
        ValueError: the value is concrete and out of range, or precision is single.
        TypeError: it is no whole number.
    """
    if jnp.result_type(int) != jnp.int64:
        raise ValueError(f"{name} needs whole numbers of 64 bits: set jax_enable_x64")
    kind = np.result_type(value) if isinstance(value, int) else getattr(value, "dtype", type(value))
    if isinstance(value, bool) or not (isinstance(value, int) or jnp.issubdtype(kind, jnp.integer)):
        raise TypeError(f"{name} must be a whole number, got {getattr(kind, '__name__', kind)}")
    rule = f"{name} must be in [{low}, {high}], got"
    if isinstance(value, int) and not low <= value <= high:  # it may have any number of digits
        raise ValueError(f"{rule} {value}")
    confirm(_within(value, low, high), f"{rule} {{value}}", value=value)
    return jnp.asarray(value, jnp.int64)


def _within(value: Any, low: int, high: int) -> Any:
    return (value >= low) & (value <= high)


def _require_room(used: jax.Array, limit: jax.Array) -> None:
    confirm(used <= limit, "gas used must be at most the gas limit = {limit}, got {used}", limit=limit, used=used)


def _next_wei(base: jax.Array, used: jax.Array, limit: jax.Array) -> jax.Array:
    """The rule, on values that may be out of range: those give `INVALID`."""
    fits = _within(base, 0, LARGEST_FEE_WEI) & _within(limit, 2, LARGEST_GAS) & (used >= 0) & (used <= limit)
    target = jnp.where(fits, limit, 2) // ELASTICITY_MULTIPLIER
    distance = jnp.where(fits, jnp.abs(used - target), 0)
    base = jnp.where(fits, base, 0)
    whole, rest = base // target, base % target
    change = (whole * distance + rest * distance // target) // BASE_FEE_MAX_CHANGE_DENOMINATOR
    higher = base + jnp.maximum(change, 1)
    changed = jnp.where(used > target, higher, base - change)
    return jnp.where(fits, changed, INVALID)
