"""What a reader of a simulation's results should know beforehand: what of its plan cannot happen, or not on a chain."""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.beacon import rules as rules_of
from jaxstake.beacon.rules import Rules
from jaxstake.data.simulation_entries import stake_eth
from jaxstake.data.simulation_file import Plan
from jaxstake.protocol import forks

_GWEI = 10**9
_ROOM = {
    "exits": ("MAX_VOLUNTARY_EXITS", "exits"),
    "merges": ("MAX_CONSOLIDATION_REQUESTS_PER_PAYLOAD", "requests to consolidate"),
    "deposits": ("MAX_DEPOSIT_REQUESTS_PER_PAYLOAD", "deposits"),
}
"""Constants of what a block has room for."""


def notes(plan: Plan) -> list[str]:
    """All that there is to say about a plan, a sentence each. 64-bit mode must be on."""
    rules = rules_of.get(plan.fork, preset=plan.preset)  # type: ignore[arg-type]
    return [
        *_stake(plan),
        *_late(plan),
        *_small_deposits(plan, rules),
        *_crowded(plan, rules),
        *_idle_merges(plan, rules),
    ]


def _stake(plan: Plan) -> list[str]:
    wanted, held = plan.registry["stake_eth"], stake_eth(plan.registry)
    if wanted is None or abs(wanted - held) <= plan.registry["compounding_balance_eth"]:
        return []
    return [
        f"{plan.registry['validators']:,} validators hold {held:,} ETH, not the {wanted:,.0f} of registry.stake_eth: "
        "rewards per ETH and limits of queues are those of that stake"
    ]


def _late(plan: Plan) -> list[str]:
    starts = {
        f"{kind}[{place}]": entry["from_epoch"]
        for kind, entries in plan.schedules.items()
        for place, entry in enumerate(entries)
    }
    return [
        f"nothing comes of {name}: it starts after {start:,} epochs, the simulation ends after {plan.epochs:,}"
        for name, start in starts.items()
        if start >= plan.epochs
    ]


def _small_deposits(plan: Plan, rules: Rules) -> list[str]:
    least = rules.min_activation_balance_gwei
    return [
        f"the validators of deposits[{place}] never become active: that takes {least / _GWEI:g} ETH, and they have "
        f"{entry['amount'] / _GWEI:g}"
        for place, entry in enumerate(plan.schedules["deposits"])
        if entry["amount"] < least
    ]


def _crowded(plan: Plan, rules: Rules) -> list[str]:
    """Operations do not compete for room in blocks here; on a chain they would."""
    constants = forks.constants(plan.fork, preset=plan.preset)  # type: ignore[arg-type]
    found = []
    for kind, (constant, words) in _ROOM.items():
        room = constants.get(constant, 0) * rules.slots_per_epoch
        for place, entry in enumerate(plan.schedules[kind]):
            most = min(-(-entry["per_epoch"] // entry["every"]), entry["count"])
            if most > room:
                found.append(
                    f"{kind}[{place}] has {most:,} in an epoch, where blocks have room for {room:,} {words}: a chain "
                    "would take longer"
                )
    return found


def _idle_merges(plan: Plan, rules: Rules) -> list[str]:
    from jaxstake.beacon.churn import get_consolidation_churn_limit

    if not plan.schedules["merges"]:
        return []
    stake, least = jnp.uint64(stake_eth(plan.registry) * _GWEI), rules.min_activation_balance_gwei / _GWEI
    limit = float(get_consolidation_churn_limit(rules, total_active_balance=stake)) / _GWEI
    if limit > least:
        return []
    return [
        f"the merges do nothing: {plan.fork} ignores them while the churn limit of consolidations is at most {least:g} "
        f"ETH, and at this stake it is {limit:g} ETH; take more validators"
    ]
