"""The net APR by hand, tuned for speed: the formulas that NumPy and Numba share, and NumPy over chunks of lanes.

This and `benchmarks.compiled` (Numba) are what a careful user would write without JAX. Both compute every component
of the net APR and every check of the ten leaves, in the precision of the lanes. What does not depend on the lanes
(constants of the fork, the leaves that stay) is worked out once, in `Constants`. Gradients are central differences:
the value and two more evaluations for each of the ten leaves, 21 in all, with the checks made once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from benchmarks.lanes import RANGES
from jaxstake.economy.scenario import Scenario

Columns = Sequence[np.ndarray]


class Constants(NamedTuple):
    """What is the same in every lane, in their precision: a literal would turn Numba's float32 to float64."""

    zero: Any
    half: Any
    one: Any
    infinity: Any
    nan: Any
    largest_balance: Any
    base: Any
    source: Any
    target: Any
    head: Any
    sync: Any
    proposer: Any
    epochs: Any
    slots: Any
    tips: Any
    initial: Any
    multiplier: Any
    queue: Any
    churn_quotient: Any
    churn_low: Any
    churn_high: Any
    ahead: Any
    slashings_vector: Any
    leak: Any
    leak_epochs: Any
    offline: Any
    inactivity: Any
    annual_cost: Any


def constants(base: Scenario, dtype: Any = np.float32) -> Constants:
    """Of a scenario under the rules of Electra or Fulu."""
    fork, network, hazards = base.fork, base.network, base.hazards
    seconds, unit = 365.25 * 86_400, fork.weight_denominator
    values = Constants(
        zero=0.0,
        half=0.5,
        one=1.0,
        infinity=math.inf,
        nan=math.nan,
        largest_balance=fork.max_effective_balance_gwei / 1e9,
        base=fork.base_reward_factor / math.sqrt(1e9),
        source=fork.timely_source_weight / unit,
        target=fork.timely_target_weight / unit,
        head=fork.timely_head_weight / unit,
        sync=fork.sync_reward_weight / unit,
        proposer=fork.proposer_weight / (unit - fork.proposer_weight),
        epochs=seconds / (fork.slots_per_epoch * fork.slot_duration_ms / 1e3),
        slots=seconds / (fork.slot_duration_ms / 1e3),
        tips=network.tips_per_block_eth,
        initial=1.0 / fork.min_slashing_penalty_quotient,
        multiplier=fork.proportional_slashing_multiplier,
        queue=network.exit_queue_eth,
        churn_quotient=fork.churn_limit_quotient,
        churn_low=fork.min_per_epoch_churn_limit_gwei / 1e9,
        churn_high=fork.max_per_epoch_activation_exit_churn_limit_gwei / 1e9,
        ahead=1.0 + fork.max_seed_lookahead + fork.min_validator_withdrawability_delay,
        slashings_vector=fork.epochs_per_slashings_vector,
        leak=hazards.leak_probability,
        leak_epochs=hazards.leak_epochs,
        offline=hazards.leak_offline_probability,
        inactivity=-math.expm1(-(hazards.leak_epochs**2) / (2.0 * fork.inactivity_penalty_quotient)),
        annual_cost=base.costs.annual_cost_eth,
    )
    return Constants(*(dtype(value) for value in values))


def steps(dtype: Any = np.float32) -> tuple[Any, ...]:
    """Half-widths of the central differences: a thousandth of the middle of each range."""
    return tuple(dtype(1e-3 * 0.5 * abs(low + high)) for low, high in RANGES.values())


# The formulas, for one lane in Numba and for arrays of lanes in NumPy. Numba turns the loop over lanes into vector
# instructions only if it inlines them early ("always") and does not watch for division by zero ("numpy").
inlined = register_jitable(inline="always", error_model="numpy")


@inlined
def is_valid(stake, p, rho, balance, u, mu, sigma, slashed, commission, other, c):
    """The domain of every leaf, and the rules that join two."""
    ok = (stake > c.zero) & (stake < c.infinity) & (p >= c.zero) & (p <= c.one) & (rho > c.zero) & (rho <= c.one)
    ok = ok & (balance > c.zero) & (balance < c.infinity) & (u >= c.zero) & (u <= c.one)
    ok = ok & (mu > -c.infinity) & (mu < c.infinity) & (sigma >= c.zero) & (sigma < c.infinity)
    ok = ok & (slashed >= c.zero) & (slashed <= c.one) & (commission >= c.zero) & (commission <= c.one)
    ok = ok & (other >= c.zero) & (other < c.infinity)
    return ok & (stake >= balance) & (balance <= c.largest_balance)


@inlined
def _slashing(stake, balance, slashed, other, base, c):
    """Expected loss to slashing: initial, correlated with the others, and while it waits."""
    together = np.minimum(other + balance, stake)
    correlation = np.minimum(c.multiplier * together / stake, c.one)
    churn = np.minimum(np.maximum(stake / c.churn_quotient, c.churn_low), c.churn_high)
    delay = np.maximum(c.queue / churn + c.ahead, c.slashings_vector)
    return -slashed * (c.initial + correlation + delay * base * (c.source + c.target))


@inlined
def net(stake, p, rho, balance, u, mu, sigma, slashed, commission, other, c):
    """Net APR, whether the leaves are valid or not."""
    base = c.base / np.sqrt(stake)
    down = c.one - u
    reward = base * u * p
    source, target, head = reward * c.source, reward * c.target, reward * rho * rho * c.head
    committee = base * c.sync * rho
    sync = committee * u
    included = (p * c.source + p * c.target + p * rho * c.head) / rho + p * c.sync
    proposer = base * u * included * c.proposer
    missed = -(base * down * (c.source + c.target) + committee * down)
    proposals = c.slots * u / stake
    mev, tips = proposals * np.exp(mu + c.half * sigma * sigma), proposals * c.tips
    flags = source + target + head
    earned = flags + sync + proposer + missed
    absent = base * (c.source + c.target) + committee
    lost = (c.one - c.offline) * flags + c.offline * (earned + (mev + tips) / c.epochs + absent)
    leak = -c.leak * (c.leak_epochs * lost + c.offline * c.inactivity)
    gross = earned * c.epochs + mev + tips
    taken = -commission * np.maximum(gross, c.zero)
    return gross + _slashing(stake, balance, slashed, other, base, c) + leak - c.annual_cost / balance + taken


def value(columns: Columns, c: Constants, *, chunk: int | None = None) -> np.ndarray:
    """Net APR of every lane, `chunk` lanes at a time (default all at once)."""
    out = np.empty_like(columns[0])
    with np.errstate(all="ignore"):
        for part in _chunks(out.size, chunk):
            x = [column[part] for column in columns]
            out[part] = np.where(is_valid(*x, c), net(*x, c), c.nan)
    return out


def value_and_gradient(columns: Columns, c: Constants, *, chunk: int | None = None) -> list[np.ndarray]:
    """Net APR and its ten slopes in every lane."""
    out = [np.empty_like(columns[0]) for _ in range(11)]
    with np.errstate(all="ignore"):
        for part in _chunks(out[0].size, chunk):
            for column, values in zip(out, _differences([column[part] for column in columns], c), strict=True):
                column[part] = values
    return out


def means(columns: Columns, c: Constants, *, slopes: bool = True, chunk: int | None = None) -> np.ndarray:
    """Mean over the valid lanes of the net APR, and of its ten slopes."""
    sums, count = np.zeros(11 if slopes else 1), 0
    with np.errstate(all="ignore"):
        for part in _chunks(columns[0].size, chunk):
            x = [column[part] for column in columns]
            found = _differences(x, c) if slopes else [value(x, c)]
            sums += [np.nansum(values) for values in found]
            count += np.count_nonzero(~np.isnan(found[0]))
    return sums / count


def _differences(x: list[np.ndarray], c: Constants) -> list[np.ndarray]:
    poison = np.where(is_valid(*x, c), c.one, c.nan)
    found = [net(*x, c) * poison]
    for i, step in enumerate(steps(x[0].dtype.type)):
        high = net(*x[:i], x[i] + step, *x[i + 1 :], c)
        low = net(*x[:i], x[i] - step, *x[i + 1 :], c)
        found.append((high - low) * (c.half / step * poison))
    return found


def _chunks(size: int, chunk: int | None) -> list[slice]:
    return [slice(start, start + (chunk or size)) for start in range(0, size, chunk or size)]
