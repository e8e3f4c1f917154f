"""Readers of the pool's history, and its swaps against StableSwap on the reserves of the same day."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.data import pool_history, stakes
from jaxstake.microstaking import liquidity, risk_scenario
from jaxstake.microstaking import pools as amm

POOL = "date,steth_reserve,eth_reserve,steth_deviation_pct,A,virtual_price\n"
SWAPS = "date,steth_in,eth_out\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "pool.csv"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def history(shared: Path) -> pool_history.PoolHistory:
    return pool_history.read_pool(shared / "data" / "steth_pool_daily.csv")


@pytest.fixture(scope="module")
def swaps(shared: Path) -> pool_history.Swaps:
    return pool_history.read_swaps(shared / "data" / "steth_swaps.csv")


def test_a_small_pool(tmp_path: Path) -> None:
    text = POOL + "2021-01-05,10,20,-0.5,5,\n2021-01-09,30,40,,50,1.02\n"
    found = pool_history.read_pool(written(tmp_path, text))
    np.testing.assert_array_equal(found.deviation, [-0.005, np.nan])
    np.testing.assert_array_equal(found.virtual_price, [np.nan, 1.02])
    days = np.array(["2021-01-09", "2021-01-05", "2021-01-09"], "datetime64[D]")
    batch = pool_history.pools(found, date=days)
    assert batch.reserve_x.tolist() == [30, 10, 30]
    assert batch.reserve_y.tolist() == [40, 20, 40]
    assert batch.amplification.tolist() == [50, 5, 50]
    assert pool_history.pools(found, fee=0.25).fee.tolist() == [0.25, 0.25]
    for day in ("2021-01-07", "2022-01-01"):
        with pytest.raises(ValueError, match=f"there is no snapshot of {day}"):
            pool_history.pools(found, date=np.array([day], "datetime64[D]"))


def test_the_real_files(history: pool_history.PoolHistory, swaps: pool_history.Swaps) -> None:
    assert (history.date.size, str(history.date[0]), str(history.date[-1])) == (420, "2021-01-05", "2022-02-28")
    assert (swaps.date.size, str(swaps.date[0]), str(swaps.date[-1])) == (4_649, "2021-06-13", "2022-02-28")
    assert int(np.sum(np.isfinite(history.virtual_price))) > 150
    assert np.all(np.diff(history.virtual_price[np.isfinite(history.virtual_price)]) > -1e-4)


def test_the_default_pool_of_the_warnings_is_the_last_day(history: pool_history.PoolHistory) -> None:
    pool = risk_scenario.Market().pool
    last = (history.steth_reserve[-1], history.eth_reserve[-1], history.amplification[-1])
    assert (pool.reserve_x, pool.reserve_y, pool.amplification) == pytest.approx(last, rel=1e-7)


def test_recorded_deviation(history: pool_history.PoolHistory) -> None:
    model = np.asarray(jax.jit(jax.vmap(liquidity.depeg))(pool_history.pools(history)))
    error = np.abs(model - history.deviation)
    assert np.median(error) < 0.0005, np.median(error)


def test_daily_median_swap_price(history: pool_history.PoolHistory, swaps: pool_history.Swaps) -> None:
    """Within 0.051 percentage points of the recorded deviation at the median over days."""
    price = swaps.eth_out / swaps.steth_in
    recorded = dict(zip(history.date.tolist(), history.deviation, strict=True))
    days = sorted(set(swaps.date.tolist()))
    error = [abs(np.median(price[swaps.date == np.datetime64(day)]) - 1 - recorded[day]) for day in days]
    assert len(days) == 261
    assert np.median(error) == pytest.approx(0.00051, abs=5e-6)


def test_swaps_by_size(history: pool_history.PoolHistory, swaps: pool_history.Swaps) -> None:
    """The same error in every tenth by size, of which the largest is 100 to 38,789 stETH.

    What is left is the time between snapshot and swap. The spot price for the whole trade fits as well: the pool is so
    deep that these swaps neither confirm nor refute its price impact.
    """
    batch = pool_history.pools(history, date=swaps.date)
    sold = jnp.asarray(swaps.steth_in, float)
    out = jax.jit(jax.vmap(lambda pool, amount: amm.swap_out(pool, amount_in=amount)))(batch, sold)
    error = (swaps.eth_out - np.asarray(out)) / swaps.steth_in
    assert np.median(np.abs(error)) == pytest.approx(0.00036, abs=3e-5)
    assert np.median(error) == pytest.approx(0.00028, abs=2e-5), "swaps are paid a little more than the snapshot says"
    edges = np.quantile(swaps.steth_in, np.linspace(0, 1, 11))
    decile = np.clip(np.searchsorted(edges, swaps.steth_in, side="right") - 1, 0, 9)
    medians = np.asarray([np.median(np.abs(error[decile == i])) for i in range(10)])
    assert np.all(medians < 0.0006), medians
    slope = np.polyfit(np.log10(swaps.steth_in), error, 1)[0]
    assert abs(slope) < 0.0001, slope


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POOL + "2021-01-05,0,20,-0.5,5,\n", "steth_reserve must be greater than 0, got 0.0 in row 1"),
        (POOL + "2021-01-05,10,-2,-0.5,5,\n", "eth_reserve must be greater than 0, got -2.0 in row 1"),
        (POOL + "2021-01-05,10,20,-0.5,0,\n", "A must be greater than 0, got 0.0 in row 1"),
        (POOL + "2021-01-05,10,20,-0.5,,\n", "line 2: A is empty"),
        (POOL + "2021-01-05,1,2,0,5,\n2021-01-04,1,2,0,5,\n", "days must increase, got 2021-01-04 after 2021-01-05"),
        ("date,steth_reserve,A\n2021-01-05,1,5\n", "has no column eth_reserve"),
    ],
)
def test_bad_pools(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        pool_history.read_pool(written(tmp_path, text))
    assert "pool.csv" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SWAPS + "2021-01-05,0,20\n", "steth_in must be greater than 0, got 0.0 in row 1"),
        (SWAPS + "2021-01-05,1,1\n2021-01-05,1,-1\n", "eth_out must be greater than 0, got -1.0 in row 2"),
        (SWAPS + "2021-01-05,1,1\n2021-01-04,1,1\n", "days must increase, got 2021-01-04 after 2021-01-05"),
        (SWAPS, "has a header but no rows"),
    ],
)
def test_bad_swaps(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        pool_history.read_swaps(written(tmp_path, text))
    assert "pool.csv" in str(error.value)


def test_stakes_of_the_real_files(shared: Path) -> None:
    names = ("stake_by_owner_2025-10-21.csv", "stake_by_owner_tail_2025-10-21.csv")
    found = stakes.read(*(shared / "data" / name for name in names))
    assert (found.stake_eth.sum(), found.owners.sum()) == (35_707_847, 47_652)
    assert found.owners[:3_799].tolist() == [1.0] * 3_799


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("owner,validators\na,1\n", "must have one column stake or effective_balance_eth, found 0"),
        ("stake,effective_balance_eth\n1,1\n", "must have one column stake or effective_balance_eth, found 2"),
        ("stake,count,owners\n1,1,1\n", "must have at most one column count or owners, found 2"),
        ("stake\n1\n-1\n", "stake must be at least 0, got -1.0 in row 2"),
        ("stake,count\n1,1\n1,0\n", "count must be greater than 0, got 0.0 in row 2"),
        ("stake,count\n1,\n", "count must be greater than 0, got nan in row 1"),
        ("stake\n", "has a header but no rows"),
    ],
)
def test_bad_stakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        stakes.read(written(tmp_path, text))
    assert "pool.csv" in str(error.value)
    with pytest.raises(ValueError, match="at least one file, got none"):
        stakes.read()
