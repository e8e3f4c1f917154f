"""Reader of daily prices, and the volatility that they realised, by closed-form estimators."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from jaxstake.data import columns

DAYS_PER_YEAR = 365.0
"""Ether trades every day."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """Daily closes, and the log returns between days that follow each other.

    Attributes:
        date: [D] days, increasing.
        price_usd: [D] close, USD, greater than 0.
        log_return: [R] `ln(p_t / p_(t-1))` where day t - 1 is in the file; no return crosses a gap.
        return_date: [R] the later day of each return.
        gaps: number of gaps, places at which at least one day is missing.
        missing_days: days missing in all gaps together; D + missing_days is the span.
    """

    date: np.ndarray
    price_usd: np.ndarray
    log_return: np.ndarray
    return_date: np.ndarray
    gaps: int
    missing_days: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolatilityProcess:
    """Logarithm of the realised volatility of windows that do not overlap.

    Attributes:
        windows: [W] volatility of each window, per square root of a year.
        mean_log: mean of its logarithm.
        log_std: deviation of its logarithm, with W - 1.
        persistence: correlation of successive logarithms, the coefficient of an AR(1).
    """

    windows: np.ndarray
    mean_log: float
    log_std: float
    persistence: float


def read(path: str | os.PathLike[str]) -> Prices:
    r"""Read daily prices from a CSV file with the columns `date` and `price_usd`; others are ignored.

    Raises:
        ValueError: as in `columns.read`; days do not increase; a price is not greater than 0.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "prices.csv"
        ...     _ = path.write_text("date,price_usd\n2025-01-01,100\n2025-01-02,110\n2025-01-05,90\n2025-01-06,99\n")
        ...     found = read(path)
        >>> found.log_return.round(4).tolist(), found.gaps, found.missing_days
        ([0.0953, 0.0953], 1, 2)
    """
    table = columns.read(path, required=("date", "price_usd"))
    date, price = table["date"], table["price_usd"]
    columns.require_increasing(path, date)
    columns.require_positive(path, "price_usd", price)
    step = np.diff(date).astype(int)
    return Prices(
        date=date,
        price_usd=price,
        log_return=np.diff(np.log(price))[step == 1],
        return_date=date[1:][step == 1],
        gaps=int(np.sum(step > 1)),
        missing_days=int(np.sum(step - 1)),
    )


def realised_volatility(log_return: np.ndarray) -> float:
    """Volatility of daily returns, per square root of a year.

    Equation: `sqrt(365 / (R - 1) sum((r - mean(r))^2))`.

    Args:
        log_return: [R] daily log returns, at least 2, finite.

    Raises:
        ValueError: there are fewer than two returns, or one is not finite.

    Example:
        >>> print(f"{realised_volatility(np.array([0.01, -0.01, 0.01, -0.01])):.4f}")
        0.2206
    """
    return float(_volatility(_checked(log_return, least=2)))


def rolling_volatility(log_return: np.ndarray, *, days: int = 30) -> np.ndarray:
    """`realised_volatility` of every window of successive returns; windows overlap.

    Args:
        log_return: [R] daily log returns.
        days: length of a window, 2 to R.

    Returns:
        [R - days + 1] volatility, per square root of a year.

    Raises:
        ValueError: days is out of its range, or a return is not finite.
    """
    _check_window(days)
    returns = _checked(log_return, least=days)
    return _volatility(np.lib.stride_tricks.sliding_window_view(returns, days))


def volatility_process(log_return: np.ndarray, *, days: int = 30, start: int = 0) -> VolatilityProcess:
    """Mean, deviation and persistence of log volatility, from windows that do not overlap.

    Equation: `l_w = ln(realised_volatility(window w))`; the coefficient is the correlation of `l_w` and `l_(w+1)`. With
    some sixty windows both depend on where the first one starts: see `start`.

    Args:
        log_return: [R] daily log returns.
        days: length of a window, at least 2.
        start: returns left out before the first window, >= 0.

    Returns:
        `VolatilityProcess`; what remains after the last whole window is left out.

    Raises:
        ValueError: an argument is out of range, fewer than three windows fit, or a return is not finite.
    """
    _check_window(days)
    if start < 0:
        raise ValueError(f"start must be at least 0, got {start}")
    returns = _checked(log_return, least=start + 3 * days)[start:]
    windows = _volatility(returns[: returns.size // days * days].reshape(-1, days))
    logs = np.log(windows)
    return VolatilityProcess(
        windows=windows,
        mean_log=float(logs.mean()),
        log_std=float(logs.std(ddof=1)),
        persistence=float(np.corrcoef(logs[:-1], logs[1:])[0, 1]),
    )


def _volatility(returns: np.ndarray) -> np.ndarray:
    return returns.std(axis=-1, ddof=1) * np.sqrt(DAYS_PER_YEAR)


def _checked(log_return: np.ndarray, *, least: int) -> np.ndarray:
    returns = np.asarray(log_return, np.float64)
    if returns.ndim != 1 or returns.size < least:
        raise ValueError(f"log_return must be a vector of at least {least} returns, got shape {returns.shape}")
    if not np.all(np.isfinite(returns)):
        raise ValueError(f"log_return must be finite, got {returns[~np.isfinite(returns)][0]}")
    return returns


def _check_window(days: int) -> None:
    if days < 2:
        raise ValueError(f"days must be at least 2, got {days}")
