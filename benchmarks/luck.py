"""Workload: an operator's year with heavy-tailed payments: a million years drawn, and the whole distribution by FFT.

Payments are lognormal with a Pareto tail, as those of 2023-10 to 2024-02. Monte Carlo: this package draws sorted counts
from a table and payments chunk by chunk; NumPy draws binomial counts, all payments in one array, and adds them up by
`reduceat`; Numba does one year after the other in parallel loops. The distribution: NumPy does the same transform with
SciPy's special functions, in double precision too.
"""

# ruff: noqa: NPY002 (Numba compiles the legacy functions only)
from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from scipy.special import ndtr

from benchmarks.setting import Setting
from benchmarks.timing import Task
from jaxstake.core import leaves
from jaxstake.economy import risk
from jaxstake.economy.block_value import LogNormalPareto
from jaxstake.economy.scenario import Scenario

PAYMENTS = LogNormalPareto(
    log_mean=-3.04, log_std=0.67, threshold_eth=0.113, tail_share=0.2, tail_scale_eth=0.073, tail_shape=0.76
)
BEYOND = 1e-6
FULL_RUN = 1 << 22
"""Lanes of a run that measures the sizes below."""
YEARS, FINE, POINTS, SCENARIOS = 1_000_000, 1 << 20, 1 << 16, 1_000


def tasks(setting: Setting) -> list[Task]:
    """Monte Carlo, one fine distribution, and many scenarios."""
    full = setting.lanes >= FULL_RUN
    years, fine = (YEARS, FINE) if full else (50_000, 1 << 14)
    return [*_years(years), *_fine(fine), *_sweep(SCENARIOS if full else 20, POINTS if full else 1 << 12)]


def scenario() -> Scenario:
    """Today's network with those payments."""
    return dataclasses.replace(Scenario(), block_value=PAYMENTS)


# --- Monte Carlo ----------------------------------------------------------------------------------------------------


def _years(count: int) -> list[Task]:
    with jax.enable_x64(True):
        law = risk.income_law(scenario())
    numbers = {name: float(value) for name, value in leaves.as_dict(law).items()}
    work = f"Monte Carlo, {count:,} validator-years"
    found = []
    for note, double, implementation in (
        ("double precision", True, None),
        ("double precision, rbg", True, "rbg"),
        ("float32, rbg", False, "rbg"),
    ):
        found.append(Task(work, f"jaxstake, {note}", count, 0, _drawn(count, double, implementation)))
    found.append(Task(work, "NumPy, one array", count, 0, lambda turn: numpy_years(numbers, count, turn)))
    found.append(Task(work, "Numba, parallel loops", count, 0, lambda turn: numba_years(_tuple(numbers), count, turn)))
    return found


def _drawn(count: int, double: bool, implementation: str | None) -> Any:
    function = jax.jit(functools.partial(risk.simulate_years, lanes=count))

    def run(turn: int) -> Any:
        with jax.enable_x64(double):
            given = jax.tree.map(lambda x: jnp.asarray(x, float), scenario())
            return jax.block_until_ready(function(given, key=jax.random.key(turn, impl=implementation)))

    return run


def numpy_years(law: dict[str, float], count: int, seed: int) -> np.ndarray:
    """[count] returns: binomial counts, every payment in one array, sums by `reduceat`."""
    random = np.random.default_rng(seed)
    counts = random.binomial(int(law["slots"]), law["proposal_chance"], count)
    seats = random.binomial(round(law["seat_trials"]), law["seat_chance"], count)
    payments = numpy_payments(law, random, int(counts.sum()))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    paid = np.zeros(count)
    some = counts > 0
    paid[some] = np.add.reduceat(payments, starts[some])
    income = law["steady_eth"] + law["fixed_eth"] * counts + paid + law["seat_eth"] * seats
    return income / law["capital_eth_years"]


def numpy_payments(law: dict[str, float], random: np.random.Generator, size: int) -> np.ndarray:
    """Payments: the tail by inversion, the body by normal draws, again where they pass the threshold."""
    value = {name.removeprefix("block_value."): number for name, number in law.items()}
    drawn = np.empty(size)
    beyond = random.random(size) < value["tail_share"]
    tail = int(beyond.sum())
    shape, scale = value["tail_shape"], value["tail_scale_eth"]
    drawn[beyond] = value["threshold_eth"] + scale / shape * (random.random(tail) ** -shape - 1.0)
    most = (math.log(value["threshold_eth"]) - value["log_mean"]) / value["log_std"]
    body = random.standard_normal(size - tail)
    high = np.flatnonzero(body > most)
    while high.size:
        body[high] = random.standard_normal(high.size)
        high = high[body[high] > most]
    drawn[~beyond] = np.exp(value["log_mean"] + value["log_std"] * body)
    return drawn


def _tuple(law: dict[str, float]) -> tuple[float, ...]:
    names = ("slots", "proposal_chance", "seat_trials", "seat_chance", "steady_eth", "fixed_eth", "seat_eth")
    parts = ("log_mean", "log_std", "threshold_eth", "tail_share", "tail_scale_eth", "tail_shape")
    return (*(law[name] for name in (*names, "capital_eth_years")), *(law[f"block_value.{name}"] for name in parts))


@numba.njit(parallel=True, cache=False)
def numba_years(law: tuple[float, ...], count: int, seed: int) -> np.ndarray:
    """[count] returns, year by year."""
    slots, chance, trials, seat_chance, steady, fixed, seat_eth, capital = law[:8]
    mean, spread, threshold, share, scale, shape = law[8:]
    found = np.empty(count)
    for year in numba.prange(count):
        if year % 4096 == 0:
            np.random.seed(seed + year)
        number = np.random.binomial(int(slots), chance)
        income = steady + fixed * number + seat_eth * np.random.binomial(round(trials), seat_chance)
        for _ in range(number):
            if np.random.random() < share:
                income += threshold + scale / shape * (np.random.random() ** -shape - 1.0)
            else:
                value = threshold + 1.0
                while value > threshold:
                    value = math.exp(mean + spread * np.random.standard_normal())
                income += value
        found[year] = income / capital
    return found


# --- The whole distribution -----------------------------------------------------------------------------------------


def _fine(points: int) -> list[Task]:
    work = f"distribution, one scenario, {points:,} points"
    function = jax.jit(lambda one: risk.return_distribution(one, points=points, beyond=BEYOND).mass)

    def ours(double: bool) -> Any:
        with jax.enable_x64(double):
            given = jax.tree.map(lambda x: jnp.asarray(x, float), scenario())

        def run(_: int) -> Any:
            with jax.enable_x64(double):
                return jax.block_until_ready(function(given))

        return run

    with jax.enable_x64(True):
        law = risk.income_law(scenario())
        grid = risk.return_distribution(scenario(), points=points, beyond=BEYOND)
        step = float(grid.step * law.capital_eth_years)
    numbers = {name: float(value) for name, value in leaves.as_dict(law).items()}
    return [
        Task(work, "jaxstake, double precision", 1, 0, ours(True)),
        Task(work, "jaxstake, float32", 1, 0, ours(False)),
        Task(work, "NumPy and SciPy", 1, 0, lambda _: numpy_mass(numbers, points, step)),
    ]


def numpy_mass(law: dict[str, float], points: int, step: float) -> np.ndarray:
    """Mass of proposals' and seats' income on multiples of the step, each payment at the nearest of them."""
    edges = (np.arange(points + 1) - 0.5) * step - law["fixed_eth"]
    chance = numpy_cdf(law, edges)
    tilt = 12.0 / points
    damp = np.exp(-tilt * np.arange(points))
    spectrum = np.fft.rfft((chance[1:] - chance[:-1]) * damp)
    seat = round(law["seat_eth"] / step)
    turn = np.exp(-(tilt + 2j * np.pi * np.arange(spectrum.size) / points) * seat)
    total = law["slots"] * np.log1p(law["proposal_chance"] * (spectrum - 1.0))
    total += law["seat_trials"] * np.log1p(law["seat_chance"] * (turn - 1.0))
    return np.fft.irfft(np.exp(total), points) / damp


def numpy_cdf(law: dict[str, float], values: np.ndarray) -> np.ndarray:
    """Chance of a payment of at most each value."""
    value = {name.removeprefix("block_value."): number for name, number in law.items()}
    threshold, share, shape = value["threshold_eth"], value["tail_share"], value["tail_shape"]
    whole = ndtr((math.log(threshold) - value["log_mean"]) / value["log_std"])
    found = np.zeros_like(values)
    body = (values > 0) & (values <= threshold)
    found[body] = (1.0 - share) * ndtr((np.log(values[body]) - value["log_mean"]) / value["log_std"]) / whole
    beyond = values > threshold
    excess = (values[beyond] - threshold) / value["tail_scale_eth"]
    found[beyond] = 1.0 - share * (1.0 + shape * excess) ** (-1.0 / shape)
    return found


def _sweep(count: int, points: int) -> list[Task]:
    work = f"distribution, {points:,} points, {count:,} scenarios"
    stakes = np.linspace(20e6, 60e6, count)

    def median(one: Scenario) -> Any:
        return risk.quantile(risk.return_distribution(one, points=points, beyond=BEYOND), level=0.5)

    def ours(double: bool) -> Any:
        def run(_: int) -> Any:
            with jax.enable_x64(double):
                many = leaves.replace(scenario(), {"network.total_stake_eth": jnp.asarray(stakes, float)})
                return jax.block_until_ready(risk.sweep_scenarios(median, many))

        return run

    few = stakes[:: max(1, count // 20)]
    with jax.enable_x64(True):
        laws = [risk.income_law(leaves.replace(scenario(), {"network.total_stake_eth": stake})) for stake in few]
        numbers = [{name: float(value) for name, value in leaves.as_dict(law).items()} for law in laws]
        wide = risk.return_distribution(scenario(), points=points, beyond=BEYOND)
        step = float(wide.step * laws[0].capital_eth_years)

    def theirs(_: int) -> Any:
        return [np.searchsorted(np.cumsum(numpy_mass(law, points, step)), 0.5) for law in numbers]

    return [
        Task(work, "jaxstake, double precision", count, 0, ours(True)),
        Task(work, "jaxstake, float32", count, 0, ours(False)),
        Task(work, "NumPy and SciPy, a loop", len(few), 0, theirs),
    ]
