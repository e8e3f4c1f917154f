"""Readers of a pool's history: a snapshot of Curve's stETH/ETH pool a day, and single swaps through it."""

from __future__ import annotations

import dataclasses
import os

import jax.numpy as jnp
import numpy as np

from jaxstake.data import columns
from jaxstake.microstaking.pools import StableSwap

FEE = 0.0004
"""Fee of the pool over the period of the files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolHistory:
    """Snapshots of the pool.

    Attributes:
        date: [D] days, increasing.
        steth_reserve: [D] stETH in the pool, greater than 0.
        eth_reserve: [D] ETH in the pool, greater than 0.
        amplification: [D] A as the contract publishes it, greater than 0.
        deviation: [D] recorded price of stETH less 1, a fraction (the file has percent); NaN where it is empty.
        virtual_price: [D] value of a pool token, ETH; NaN where it is not recorded.
    """

    date: np.ndarray
    steth_reserve: np.ndarray
    eth_reserve: np.ndarray
    amplification: np.ndarray
    deviation: np.ndarray
    virtual_price: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swaps:
    """Single sales of stETH for ETH.

    Attributes:
        date: [S] day, not decreasing.
        steth_in: [S] stETH sold, greater than 0.
        eth_out: [S] ETH paid, greater than 0.
    """

    date: np.ndarray
    steth_in: np.ndarray
    eth_out: np.ndarray


def read_pool(path: str | os.PathLike[str]) -> PoolHistory:
    """Read snapshots: `date`, `steth_reserve`, `eth_reserve`, `A`; `steth_deviation_pct`, `virtual_price` optional.

    Raises:
        ValueError: as in `columns.read`; days do not increase; a reserve or A is not greater than 0.
    """
    required, optional = ("date", "steth_reserve", "eth_reserve", "A"), ("steth_deviation_pct", "virtual_price")
    table = columns.read(path, required=required, optional=optional)
    columns.require_increasing(path, table["date"])
    for name in required[1:]:
        columns.require_positive(path, name, table[name])
    unknown = np.full(table["date"].size, np.nan)
    return PoolHistory(
        date=table["date"],
        steth_reserve=table["steth_reserve"],
        eth_reserve=table["eth_reserve"],
        amplification=table["A"],
        deviation=table.get("steth_deviation_pct", unknown) / 100.0,
        virtual_price=table.get("virtual_price", unknown),
    )


def read_swaps(path: str | os.PathLike[str]) -> Swaps:
    """Read swaps: `date`, `steth_in`, `eth_out`.

    Raises:
        ValueError: as in `columns.read`; days decrease; an amount is not greater than 0.
    """
    table = columns.read(path, required=("date", "steth_in", "eth_out"))
    date = table["date"]
    columns.require_increasing(path, date[np.append(True, date[1:] != date[:-1])])
    for name in ("steth_in", "eth_out"):
        columns.require_positive(path, name, table[name])
    return Swaps(date=date, steth_in=table["steth_in"], eth_out=table["eth_out"])


def pools(history: PoolHistory, *, date: np.ndarray | None = None, fee: float = FEE) -> StableSwap:
    """The pool on each day as one batch, x stETH and y ETH, to be mapped over with `jax.vmap`.

    Args:
        history: snapshots.
        date: [S] days wanted, in any order, one for each swap, say; default all of the history.
        fee: fee of the pool, in [0, 1).

    Returns:
        `StableSwap` with leaves [S].

    Raises:
        ValueError: there is no snapshot of a day; the message gives the first such day.
    """
    rows = np.arange(history.date.size)
    if date is not None:
        rows = np.searchsorted(history.date, date).clip(max=history.date.size - 1)
        missing = np.flatnonzero(history.date[rows] != date)
        if missing.size:
            raise ValueError(f"there is no snapshot of {date[missing[0]]}")
    return StableSwap(
        reserve_x=jnp.asarray(history.steth_reserve[rows], float),
        reserve_y=jnp.asarray(history.eth_reserve[rows], float),
        amplification=jnp.asarray(history.amplification[rows], float),
        fee=jnp.full(rows.size, fee, float),
    )
