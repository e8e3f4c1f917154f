"""Compound binomial laws by enumeration with SciPy: counts one by one, sums of equal or exponential payments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from jaxstake.economy.risk import IncomeLaw


def counts(trials: float, chance: float, *, tail: float = 1e-15) -> tuple[np.ndarray, np.ndarray]:
    """Counts and their chances, also where the number of trials is not whole, by the ratio of gamma functions."""
    expected = trials * chance
    most = math.ceil(expected + 12.0 * math.sqrt(expected) + 30.0)
    number = np.arange(min(most, math.floor(trials)) + 1)
    log_mass = (
        special.gammaln(trials + 1.0) - special.gammaln(number + 1.0) - special.gammaln(trials - number + 1.0)
        + special.xlogy(number, chance) + special.xlog1py(trials - number, -chance)
    )  # fmt: skip
    mass = np.exp(log_mass)
    kept = mass > tail
    return number[kept], mass[kept] / mass[kept].sum()


def atoms(law: IncomeLaw, *, payment_eth: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns and chances where every block is worth the same, in ascending order."""
    proposals, chances = counts(float(law.slots), float(law.proposal_chance))
    seats, seat_chances = counts(float(law.seat_trials), float(law.seat_chance))
    income = float(law.steady_eth) + (float(law.fixed_eth) + payment_eth) * proposals[:, None]
    income = (income + float(law.seat_eth) * seats[None]).ravel() / float(law.capital_eth_years)
    mass = (chances[:, None] * seat_chances[None]).ravel()
    order = np.argsort(income, kind="stable")
    return income[order], mass[order]


def atoms_quantile(values: np.ndarray, mass: np.ndarray, level: float) -> float:
    return float(values[np.searchsorted(np.cumsum(mass), level)])


def exponential_cdf(law: IncomeLaw, *, mean_eth: float, value: Any) -> np.ndarray:
    """Chance of at most a return, where block values are exponential with this mean: gamma laws of each count."""
    proposals, chances = counts(float(law.slots), float(law.proposal_chance))
    seats, seat_chances = counts(float(law.seat_trials), float(law.seat_chance))
    income = np.asarray(value, float)[..., None, None] * float(law.capital_eth_years) - float(law.steady_eth)
    rest = income - float(law.fixed_eth) * proposals[:, None] - float(law.seat_eth) * seats[None]
    shape = np.maximum(proposals, 1)[:, None]
    below = np.where(proposals[:, None] == 0, rest >= 0, stats.gamma.cdf(rest, shape, scale=mean_eth))
    return np.sum(below * chances[:, None] * seat_chances[None], axis=(-1, -2))


def exponential_quantile(law: IncomeLaw, *, mean_eth: float, level: float, low: float, high: float) -> float:
    return optimize.brentq(
        lambda x: float(exponential_cdf(law, mean_eth=mean_eth, value=x)) - level, low, high, xtol=1e-14
    )
