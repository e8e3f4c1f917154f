"""What the exact engine needs to run a simulation that a file describes: rules, a state, a behaviour, block values."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxstake.beacon import behaviour as acts
from jaxstake.beacon import rules as rules_of
from jaxstake.beacon.arrays import healthy_state
from jaxstake.beacon.behaviour import Behaviour
from jaxstake.beacon.rules import Rules
from jaxstake.beacon.state import BeaconState
from jaxstake.data.simulation_entries import BALANCE_ETH
from jaxstake.data.simulation_file import Plan
from jaxstake.economy import block_value
from jaxstake.protocol import forks

_GWEI = 10**9
_CONTAINERS: dict[str, Any] = {
    "offline": acts.Offline,
    "slashings": acts.Event,
    "exits": acts.Event,
    "merges": acts.Merge,
    "deposits": acts.Deposits,
}


@dataclasses.dataclass(frozen=True)
class BlockValueSampler:
    """Draws block values, ETH; two with the same parameters are equal, so that they share a compilation."""

    family: str
    parameters: tuple[tuple[str, float], ...]

    def __call__(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Independent draws of a shape."""
        distribution = getattr(block_value, self.family)(**dict(self.parameters))
        return block_value.sample(distribution, key=key, shape=shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """Arguments of `beacon.simulation.simulate`."""

    rules: Rules
    state: BeaconState
    behaviour: Behaviour
    key: jax.Array
    sample_block_value: BlockValueSampler | None
    epochs: int
    record_every: int
    traced: tuple[int, ...]


def build(plan: Plan) -> Setup:
    """The arguments of `simulate` for a plan.

    Raises:
        ValueError: JAX is not in 64-bit mode; the fork has no compounding validators but the registry does; the chances
            of the head, target and source are not in order; a schedule reaches beyond the registry, overlaps another of
            its kind or needs a later fork. The message names the entry, the rule and the value.
    """
    rules = rules_of.get(plan.fork, preset=plan.preset)  # type: ignore[arg-type]
    schedules = {
        kind: tuple(_CONTAINERS[kind](**entry) for entry in entries) for kind, entries in plan.schedules.items()
    }
    state = _state(plan, rules)
    rows = state.balances.shape[0]
    chances = {name: _padded(value, rows) for name, value in plan.chances.items()}
    behaviour = Behaviour(**chances, **_groups(plan, rows), **schedules)
    acts.check_behaviour(rules, state, behaviour)
    return Setup(
        rules=rules,
        state=state,
        behaviour=behaviour,
        key=jax.random.key(plan.seed),
        sample_block_value=_sampler(plan.block_value),
        epochs=plan.epochs,
        record_every=plan.record_every,
        traced=tuple(plan.traced),
    )


def _sampler(table: dict[str, Any] | None) -> BlockValueSampler | None:
    if table is None:
        return None
    return BlockValueSampler(table["family"], tuple((name, table[name]) for name in table if name != "family"))


def _state(plan: Plan, rules: Rules) -> BeaconState:
    """The registry in the first slot of an epoch, all validators active, everything before final."""
    n, compounding = plan.registry["validators"], plan.registry["compounding"]
    if compounding and not rules_of.has_balance_queues(rules):
        raise ValueError(f"compounding validators need Electra or later, got {compounding} of them at {plan.fork}")
    row = np.arange(n, dtype=np.int64)
    # Spread evenly, so that every cohort has its part of them.
    large = (row + 1) * compounding // n > row * compounding // n
    held = np.where(large, plan.registry["compounding_balance_eth"], BALANCE_ETH).astype(np.uint64) * np.uint64(_GWEI)
    deposits = sum(entry["count"] for entry in plan.schedules["deposits"])
    return healthy_state(
        rules,
        held,
        compounding=large,
        validator_capacity=n + deposits,
        queue_capacity=_queue_capacity(plan, deposits),
    )


def _queue_capacity(plan: Plan, deposits: int) -> int:
    """Room for every deposit and for what is left over at each merge, and for the merges as far as the chain has it."""
    most = forks.constants("electra", preset=plan.preset)["PENDING_CONSOLIDATIONS_LIMIT"]  # type: ignore[arg-type]
    merges = plan.schedules["merges"]
    targets = sum(-(-entry["count"] // entry["group"]) for entry in merges)
    sources = sum(entry["count"] for entry in merges) - targets
    return max(deposits + targets, min(sources, most))


def _padded(value: Any, rows: int) -> Any:
    """A chance, or a list of them with the mean for validators to come."""
    if not isinstance(value, list):
        return value
    return np.concatenate([value, np.full(rows - len(value), np.mean(value))])


def _groups(plan: Plan, rows: int) -> dict[str, Any]:
    """The groups of outages; the last one, of all other rows, never fails."""
    if plan.outages is None:
        return {}
    sizes = plan.outages["groups"]
    group = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(rows - sum(sizes), len(sizes))])
    return {
        "group": group,
        "outage_chance": np.array([*plan.outages["outage_chance"], 0.0]),
        "recovery_chance": np.array([*plan.outages["recovery_chance"], 1.0]),
    }
