"""The net APR by hand in NumPy and in Numba, tuned for speed: what a careful user would write without JAX.

Both compute every component of the net APR and every check of the ten leaves, in the precision of the lanes. What
does not depend on them (constants of the fork, the leaves that stay) is worked out once, in `Constants`.
Gradients are central differences in the ten leaves with the value itself: 21 evaluations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.extending import register_jitable

from jaxstake.economy.scenario import Scenario

Columns = Sequence[np.ndarray]

STEPS = (2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 1e-6, 1e-3, 2e-3)
"""Half-widths of the differences, relative to the leaf; absolute for the two whose lanes come close to 0."""
_ABSOLUTE = (7, 8)


class Constants(NamedTuple):
    """What is the same in every lane, per year where it is a rate, in the precision of the lanes."""

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


@register_jitable
def _valid(stake, p, rho, balance, u, mu, sigma, slashed, commission, other, c):
    """The domain of every leaf and the rules that join two, of one lane or of many."""
    ok = (stake > c.zero) & (stake < c.infinity) & (p >= c.zero) & (p <= c.one) & (rho > c.zero) & (rho <= c.one)
    ok = ok & (balance > c.zero) & (balance < c.infinity) & (u >= c.zero) & (u <= c.one)
    ok = ok & (mu > -c.infinity) & (mu < c.infinity) & (sigma >= c.zero) & (sigma < c.infinity)
    ok = ok & (slashed >= c.zero) & (slashed <= c.one) & (commission >= c.zero) & (commission <= c.one)
    ok = ok & (other >= c.zero) & (other < c.infinity)
    return ok & (stake >= balance) & (balance <= c.largest_balance)


@register_jitable
def _slashing(stake, balance, slashed, other, base, c):
    """Expected loss to slashing: initial, correlated with the others, and while it waits."""
    together = np.minimum(other + balance, stake)
    correlation = np.minimum(c.multiplier * together / stake, c.one)
    churn = np.minimum(np.maximum(stake / c.churn_quotient, c.churn_low), c.churn_high)
    delay = np.maximum(c.queue / churn + c.ahead, c.slashings_vector)
    return -slashed * (c.initial + correlation + delay * base * (c.source + c.target))


@register_jitable
def net_by_hand(stake, p, rho, balance, u, mu, sigma, slashed, commission, other, c):
    """Net APR of one lane, or of arrays of lanes; NaN where a rule is broken."""
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
    result = gross + _slashing(stake, balance, slashed, other, base, c) + leak - c.annual_cost / balance + taken
    return np.where(_valid(stake, p, rho, balance, u, mu, sigma, slashed, commission, other, c), result, c.nan)
