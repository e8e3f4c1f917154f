"""The whole distribution of an operator's yearly return, on a grid, with bounds of its error."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every, in_domains, poison, require_domain
from jaxstake.core.domain import POSITIVE, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.risk import lattice as lattices
from jaxstake.economy.risk.income import IncomeLaw, income_law, moments
from jaxstake.economy.risk.keep import kept_leaves
from jaxstake.economy.risk.transform import compound_mass, tilt
from jaxstake.economy.scenario import Costs, Scenario

FEWEST_POINTS, MOST_POINTS = 1 << 6, 1 << 24


@pytree
class ReturnDistribution:
    """Chances of the return per year in equal cells, and what the grid leaves open.

    Cell j is `[start + j step, start + (j + 1) step]`, its mass spread evenly over it; `mass` and `beyond` add up to 1.
    The true cdf lies between those of the grid shifted by `shift` either way, lowered or raised by `doubt`, and the
    true quantiles accordingly (`cdf_bounds`, `quantile_bounds`). `doubt` includes `aliasing` (a bound on mass that
    comes round the grid's end) and `rounding` (an estimate of what the precision loses).
    """

    start: Scalar = leaf(unit="1/year", meaning="lower end of the first cell")
    step: Scalar = leaf(unit="1/year", meaning="width of a cell")
    mass: Any = leaf(meaning="[points] chance of each cell")
    beyond: Scalar = leaf(meaning="chance of a return above the last cell")
    mean: Scalar = leaf(unit="1/year", meaning="mean of the return in closed form, beyond the grid included")
    shift: Scalar = leaf(unit="1/year", meaning="by how much splitting payments between points may move the return")
    doubt: Scalar = leaf(meaning="by how much a chance may be wrong")
    aliasing: Scalar = leaf(meaning="bound on mass that belongs beyond the ends of the grid")
    rounding: Scalar = leaf(meaning="estimate of what the precision loses of a chance")


def return_distribution(
    scenario: Scenario,
    *,
    validators: Scalar = 1.0,
    years: Scalar = 1.0,
    points: int = 1 << 16,
    beyond: float = 1e-9,
    width_eth: Scalar | None = None,
) -> ReturnDistribution:
    """Distribution of the gross return per year of an operator with k validators; see `distribution`.

    Args:
        scenario: scalars; vmap, or `sweep_scenarios`, for many.
        validators: number of validators k, >= 1.
        years: length of the horizon, > 0; the return is per year of it.
        points: cells of the grid, a power of two; static.
        beyond: chance of a return above the grid that sets its width, in (0, 0.1]; static.
        width_eth: width of the grid in ETH of income, in place of that rule.

    Raises:
        ValueError: as `income_law` and `distribution`.

    Example:
        >>> found = return_distribution(Scenario(), points=1 << 12)
        >>> from jaxstake.economy.risk import quantile
        >>> print([f"{quantile(found, level=x):.2%}" for x in (0.1, 0.5, 0.9)])
        ['2.13%', '2.54%', '3.14%']
    """
    law = income_law(scenario, validators=validators, years=years)
    return distribution(law, points=points, beyond=beyond, width_eth=width_eth)


def distribution(
    law: IncomeLaw, *, points: int = 1 << 16, beyond: float = 1e-9, width_eth: Scalar | None = None
) -> ReturnDistribution:
    """Distribution of the return of a law of income, by the transform of the compound binomial.

    Each payment is split between the two points of a lattice around it, so that its mean is kept, and the sum of the
    split payments has the law that `transform.compound_mass` computes, exactly but for rounding and aliasing. The
    errors of the split are independent with mean 0, which bounds the shift of the sum (`lattice.rounding_shift`).

    The grid begins where the chance of less is 1e-19 (4e-9 in single precision) at most, and is as wide as `beyond`
    asks. But no step is longer than a quarter of an ordinary payment's root mean square, or 1/50 of the deviation that
    ordinary payments alone give the sum (those that about one payment of the horizon exceeds), unless the bulk needs
    it: of a heavy tail more lies beyond, and `beyond` of the result says how much, exactly. Results differentiate in
    every leaf of the law, on a grid that stands still.

    Args:
        law: scalars; vmap for many.
        points: cells of the grid, a power of two in [64, 2^24]; static.
        beyond: chance of a return above the grid that sets its width, in (0, 0.1]; static.
        width_eth: width of the grid in ETH of income, in place of that rule, > 0.

    Returns:
        `ReturnDistribution`; NaN where a traced leaf is out of range.

    Raises:
        ValueError: a concrete argument is out of range.

    Source: P. Embrechts and M. Frei, Panjer recursion versus FFT for compound distributions, Mathematical Methods of
    Operations Research 69 (2009) 497-508, for the tilt; Hoeffding's lemma for the bound.
    """
    if points & (points - 1) or not FEWEST_POINTS <= points <= MOST_POINTS:
        raise ValueError(f"points must be a power of two from {FEWEST_POINTS} to {MOST_POINTS}, got {points}")
    if not 0 < beyond <= 0.1:
        raise ValueError(f"beyond must be in (0, 0.1], got {beyond}")
    dtype = jnp.result_type(*jax.tree.leaves(law), float)
    if width_eth is not None:
        width_eth = require_domain("width_eth", width_eth, POSITIVE)
    chance = law.proposal_chance
    ok = every(in_domains(law), confirm(chance < 1, "proposal_chance must be below 1, got {chance}", chance=chance))
    whole, law = moments(law), kept_leaves(law)
    grid = lattices.layout(law, points=points, beyond=beyond, width_eth=width_eth, dtype=dtype)
    # A product with 1 or NaN, so that a bad lane has no plausible mass.
    mass = compound_mass(law, grid, points=points) * as_float(poison(ok, 1.0)).astype(dtype)
    missing = jnp.maximum(0.0, 1.0 - jnp.sum(mass))
    scale = 1.0 / law.capital_eth_years
    aliasing, rounding, shift = _errors(law, grid, points=points, missing=missing, dtype=dtype)
    start = (law.steady_eth + (grid.first - 0.5) * grid.step_eth) * scale
    return ReturnDistribution(
        start=poison(ok, start),
        step=poison(ok, grid.step_eth * scale),
        mass=mass,
        beyond=missing,
        mean=whole.mean,
        shift=poison(ok, shift * scale),
        doubt=math.exp(-_shift_nats(dtype)) + aliasing + rounding + grid.doubt,
        aliasing=aliasing,
        rounding=rounding,
    )


def net_of_costs(found: ReturnDistribution, costs: Costs, *, effective_balance_eth: Scalar) -> ReturnDistribution:
    """The distribution after the operator's commission and running cost; `found` is gross.

    Equation: `net = (1 - commission) gross - annual_cost_eth / EB`. A negative outcome is reduced by the commission,
    as if it was shared too; `apr` takes a commission on a positive expectation. Losses from slashing and leaks are
    rare events of their own size and not in it.

    Args:
        found: distribution of the gross return.
        costs: commission and cost per validator.
        effective_balance_eth: effective balance of a validator, ETH, > 0.

    Raises:
        ValueError: a concrete argument is out of range.
    """
    ok = in_domains(costs)
    balance = require_domain("effective_balance_eth", effective_balance_eth, POSITIVE)
    kept = poison(ok, 1.0 - costs.commission)
    cost = costs.annual_cost_eth / balance
    moved = {"start": kept * found.start - cost, "mean": kept * found.mean - cost}
    return dataclasses.replace(found, **moved, step=kept * found.step, shift=kept * found.shift)


def scaled(found: ReturnDistribution, *, factor: Scalar) -> ReturnDistribution:
    """The distribution of the return times a factor > 0."""
    factor = require_domain("factor", factor, Domain(0.0, open_low=True))
    names = ("start", "step", "mean", "shift")
    return dataclasses.replace(found, **{name: factor * getattr(found, name) for name in names})


def _shift_nats(dtype: Any) -> float:
    return math.log(1e6 if dtype == jnp.float64 else 1e5)


def _errors(law: IncomeLaw, grid: Any, *, points: int, missing: jax.Array, dtype: Any) -> tuple[Any, Any, Any]:
    """Bound of the aliasing, estimate of the rounding, and the shift in ETH."""
    law, missing = jax.lax.stop_gradient((law, missing))
    proposals, seats = law.slots * law.proposal_chance, law.seat_trials * law.seat_chance
    damped = tilt(dtype)
    aliasing = math.exp(-damped) * missing + math.exp(damped) * grid.doubt
    rounding = jnp.finfo(dtype).eps * math.exp(0.75 * damped) * (8.0 + jnp.sqrt(proposals) + seats)
    steps = 0.5 + lattices.rounding_shift(proposals + seats, nats=_shift_nats(dtype))
    if dtype != jnp.float64:  # what is left of the mean's rounding
        steps = steps + 4.0 * jnp.finfo(dtype).eps * jnp.abs(grid.first)
    return aliasing, rounding, steps * grid.step_eth
