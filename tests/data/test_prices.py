"""The reader of prices, and the volatility of ether by closed-form estimators."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from jaxstake.data import columns, prices

HEADER = "date,price_usd,source\n"
DAYS = HEADER + "2025-01-01,100,a\n2025-01-02,110,a\n2025-01-05,50,b\n2025-01-06,25,b\n2025-01-07,50,b\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "prices.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture(scope="module")
def ether(shared: Path) -> prices.Prices:
    return prices.read(shared / "data" / "eth_price_daily.csv")


def test_no_return_crosses_a_gap(tmp_path: Path) -> None:
    found = prices.read(written(tmp_path, DAYS))
    np.testing.assert_allclose(found.log_return, [math.log(1.1), -math.log(2), math.log(2)], rtol=1e-12)
    assert found.return_date.astype(str).tolist() == ["2025-01-02", "2025-01-06", "2025-01-07"]
    assert (found.gaps, found.missing_days, found.price_usd.size) == (1, 2, 5)


def test_one_day_has_no_return(tmp_path: Path) -> None:
    found = prices.read(written(tmp_path, HEADER + "2025-01-01,100,a\n"))
    assert (found.log_return.size, found.gaps, found.missing_days) == (0, 0, 0)


def test_estimators_by_hand() -> None:
    returns = np.array([0.01, -0.02, 0.03, 0.0, 0.02, 0.01, -0.04, 0.05, 0.02])
    mean = sum(returns) / 9
    by_hand = math.sqrt(365 * sum((r - mean) ** 2 for r in returns) / 8)
    assert prices.realised_volatility(returns) == pytest.approx(by_hand, rel=1e-12)
    found = prices.volatility_process(returns, days=3)
    windows = [prices.realised_volatility(returns[i : i + 3]) for i in (0, 3, 6)]
    np.testing.assert_allclose(found.windows, windows, rtol=1e-12)
    logs = np.log(windows)
    assert found.mean_log == pytest.approx(logs.mean(), rel=1e-12)
    assert found.log_std == pytest.approx(math.sqrt(sum((logs - logs.mean()) ** 2) / 2), rel=1e-12)
    two = np.array([logs[:2] - logs[:2].mean(), logs[1:] - logs[1:].mean()])
    assert found.persistence == pytest.approx((two[0] @ two[1]) / math.sqrt((two[0] @ two[0]) * (two[1] @ two[1])))
    rolling = prices.rolling_volatility(returns, days=3)
    assert rolling.shape == (7,)
    np.testing.assert_allclose(rolling[[0, 3, 6]], windows, rtol=1e-12)
    shifted = prices.volatility_process(np.append([9.0], returns), days=3, start=1)
    np.testing.assert_array_equal(shifted.windows, found.windows)


def test_volatility_knows_no_unit_of_money_and_scales_with_returns(tmp_path: Path) -> None:
    dear = re.sub(r",(\d+),", r",\g<1>000,", DAYS)
    cheap, other = (prices.read(written(tmp_path, text)).log_return for text in (DAYS, dear))
    np.testing.assert_allclose(cheap, other, rtol=1e-9)
    assert prices.realised_volatility(3 * cheap) == pytest.approx(3 * prices.realised_volatility(cheap), rel=1e-12)


def test_estimators_find_the_process_that_made_the_returns(rng: np.random.Generator) -> None:
    """Windows of a known AR(1) of log volatility; the noise of thirty returns adds 1/58 to its variance."""
    number, rho, spread = 4_000, 0.52, 0.393
    logs = np.zeros(number)
    for t in range(1, number):
        logs[t] = rho * logs[t - 1] + spread * math.sqrt(1 - rho**2) * rng.standard_normal()
    daily = 0.7 * np.exp(logs)[:, None] / math.sqrt(365) * rng.standard_normal((number, 30))
    found = prices.volatility_process(daily.ravel(), days=30)
    noise = 1 / 58
    assert found.log_std == pytest.approx(math.sqrt(spread**2 + noise), rel=0.03)
    assert found.persistence == pytest.approx(rho * spread**2 / (spread**2 + noise), abs=0.04)


def test_gaps_of_the_real_file(ether: prices.Prices, shared: Path) -> None:
    assert (ether.date.size, ether.gaps, ether.missing_days, ether.log_return.size) == (1_848, 1, 9, 1_846)
    recorded = columns.read(shared / "data" / "eth_price_daily.csv", required=("date",), optional=("log_return",))
    theirs = recorded["log_return"][~np.isnan(recorded["log_return"])]
    np.testing.assert_allclose(ether.log_return, theirs, atol=5.1e-7)


def test_volatility_of_ether(ether: prices.Prices) -> None:
    """0.693 is the median month; the deviation over the whole file is 0.788, because 2021 weighs most."""
    assert np.median(prices.rolling_volatility(ether.log_return)) == pytest.approx(0.6929, abs=5e-5)
    assert prices.realised_volatility(ether.log_return) == pytest.approx(0.7882, abs=5e-5)
    years = {}
    for year in range(2021, 2026):
        of_year = ether.return_date.astype("datetime64[Y]") == np.datetime64(str(year))
        years[year] = round(prices.realised_volatility(ether.log_return[of_year]), 2)
    assert years == {2021: 1.07, 2022: 0.87, 2023: 0.46, 2024: 0.65, 2025: 0.74}


def test_log_volatility_of_ether(ether: prices.Prices) -> None:
    """The deviation 0.393 and the AR(1) 0.52 lie within what the thirty ways to cut the months give."""
    cuts = [prices.volatility_process(ether.log_return, start=start) for start in range(30)]
    spread, persistence = [cut.log_std for cut in cuts], [cut.persistence for cut in cuts]
    assert (spread[0], persistence[0]) == (pytest.approx(0.3886, abs=5e-5), pytest.approx(0.4543, abs=5e-5))
    assert (min(spread), max(spread)) == (pytest.approx(0.358, abs=5e-4), pytest.approx(0.410, abs=5e-4))
    assert (min(persistence), max(persistence)) == (pytest.approx(0.45, abs=5e-3), pytest.approx(0.62, abs=5e-3))
    assert np.mean(spread) == pytest.approx(0.3786, abs=5e-4)
    assert np.mean(persistence) == pytest.approx(0.544, abs=5e-4)
    assert min(spread) < 0.393 < max(spread)
    assert min(persistence) < 0.52 < max(persistence)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected a header row with date, price_usd"),
        (HEADER, "has a header but no rows"),
        ("date,usd\n2025-01-01,1\n", "has no column price_usd; found: date, usd"),
        ("date,price_usd,date\n", "has more than one column date"),
        (HEADER + "2025-01-01,x,a\n", "line 2: price_usd 'x' is not a number"),
        (HEADER + "2025-01-01,,a\n", "line 2: price_usd is empty"),
        (HEADER + "2025-01-01,inf,a\n", "line 2: price_usd must be finite, got inf"),
        (HEADER + "01/02/2025,1,a\n", "line 2: date '01/02/2025' is not a day YYYY-MM-DD"),
        (HEADER + "2025-01-01,1\n", "line 2: 2 fields under 3 columns"),
        (HEADER + "2025-01-01,0,a\n", "price_usd must be greater than 0, got 0.0 in row 1"),
        (HEADER + "2025-01-01,-1,a\n", "price_usd must be greater than 0, got -1.0 in row 1"),
        (HEADER + "2025-01-02,1,a\n2025-01-02,1,a\n", "days must increase, got 2025-01-02 after 2025-01-02"),
        (b"date,price_usd\n\xff", "is not UTF-8 text"),
    ],
)
def test_bad_files(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        prices.read(path)
    assert str(path) in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*: No such file") as error:
        prices.read(tmp_path / "none.csv")
    assert "none.csv" in str(error.value)


def test_bad_returns() -> None:
    with pytest.raises(ValueError, match=r"log_return must be a vector of at least 2 returns, got shape \(1,\)") as one:
        prices.realised_volatility(np.ones(1))
    with pytest.raises(ValueError, match="log_return must be finite, got nan"):
        prices.realised_volatility(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="days must be at least 2, got 1"):
        prices.rolling_volatility(np.ones(9), days=1)
    with pytest.raises(ValueError, match="start must be at least 0, got -1"):
        prices.volatility_process(np.ones(9), days=2, start=-1)
    with pytest.raises(ValueError, match="at least 91 returns"):
        prices.volatility_process(np.ones(90), start=1)
    assert "got shape" in str(one.value)
