"""Workload: epoch transitions of the exact engine, a lane being one validator in one epoch.

NumPy does the same work on the same arrays, whole arrays at a time, and gives the same integers. In the network
some validators are offline, a few are slashed, none is ejected, and the queues are empty.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from benchmarks.setting import Setting
from benchmarks.timing import Task
from jaxstake.beacon import epoch, rules
from jaxstake.beacon.arrays import state_from_arrays

FORK, EPOCHS, VALIDATORS = "fulu", 8, (100_000, 1_000_000, 2_000_000)
FULL_RUN = 1 << 22
"""Lanes of a run that measures the sizes above."""
ETH, NEVER = np.uint64(10**9), np.uint64(2**64 - 1)
Arrays = dict[str, Any]


def tasks(setting: Setting) -> list[Task]:
    """Epochs in a row for each number of validators."""
    full = setting.lanes >= FULL_RUN
    return [task for count in (VALIDATORS if full else (10_000,)) for task in _of_size(count)]


def _of_size(count: int) -> list[Task]:
    arrays, kept = network(count), []
    work = f"process_epoch, {count:,} validators, {EPOCHS} epochs in a row"

    def ours(_: int) -> Any:
        with jax.enable_x64(True):
            state = kept.pop() if kept else state_from_arrays(rules.get(FORK), arrays)
            kept.append(jax.block_until_ready(run(rules.get(FORK), state)))
            return kept[0]

    def theirs(_: int) -> Any:
        state = dict(arrays)
        for _ in range(EPOCHS):
            state = numpy_epoch(rules.get(FORK), state)
        return state

    lanes = count * EPOCHS
    return [Task(work, "jaxstake", lanes, 0, ours), Task(work, "NumPy, whole arrays", lanes, 0, theirs)]


def network(count: int) -> Arrays:
    """A network of 32-ETH and compounding validators, 1 % offline, one in a thousand slashed."""
    random, r = np.random.default_rng(0), rules.get(FORK)
    compounding = random.random(count) < 0.3
    effective = np.where(compounding, random.integers(32, 2049, count), 32).astype(np.uint64) * ETH
    votes = np.where(random.random(count) < 0.99, 7, 0).astype(np.uint8)
    slashed, at = random.random(count) < 1e-3, 400_000
    return {
        "slot": (at + 1) * r.slots_per_epoch - 1,
        "finalized_epoch": at - 2,
        "previous_justified_epoch": at - 2,
        "current_justified_epoch": at - 1,
        "justification_bits": np.ones(4, bool),
        "balances": effective + random.integers(0, 2 * 10**8, count).astype(np.uint64),
        "effective_balance": effective,
        "inactivity_scores": np.where(votes == 0, random.integers(0, 50, count), 0).astype(np.uint64),
        "previous_epoch_participation": votes,
        "current_epoch_participation": votes,
        "slashed": slashed,
        "activation_eligibility_epoch": np.zeros(count, np.uint64),
        "activation_epoch": np.zeros(count, np.uint64),
        "exit_epoch": np.where(slashed, np.uint64(at - 1000), NEVER),
        "withdrawable_epoch": np.where(slashed, np.uint64(at + 4096) + random.integers(0, 4, count, np.uint64), NEVER),
        "cred_prefix": np.where(compounding, 2, 1).astype(np.uint8),
        "slashings": np.full(r.epochs_per_slashings_vector, ETH, np.uint64),
    }


def epochs_in_a_row(r: rules.Rules, state: Any) -> Any:
    """Transitions with the same votes in every epoch, the slot moving on."""

    def advance(state: Any, _: None) -> tuple[Any, None]:
        votes = state.current_epoch_participation
        state = epoch.process_epoch(r, state)
        slot = state.slot + r.slots_per_epoch
        return dataclasses.replace(state, slot=slot, current_epoch_participation=votes), None

    return jax.lax.scan(advance, state, length=EPOCHS)[0]


run = jax.jit(epochs_in_a_row, static_argnums=0, donate_argnums=1)


# --- NumPy ------------------------------------------------------------------------------------------------------------


def numpy_epoch(r: rules.Rules, s: Arrays) -> Arrays:
    """The same transition of the same network: no ejections, no queues."""
    now = np.uint64(s["slot"] // r.slots_per_epoch)
    s = dict(s)
    effective, previous = s["effective_balance"], now - np.uint64(1)
    active = [(s["activation_epoch"] <= e) & (e < s["exit_epoch"]) for e in (previous, now)]
    votes = (s["previous_epoch_participation"], s["current_epoch_participation"])
    held = [active[0] & (votes[0] & (1 << flag) != 0) & ~s["slashed"] for flag in range(3)]
    target_now = active[1] & (votes[1] & 2 != 0) & ~s["slashed"]
    total = int(effective[active[1]].sum())
    _numpy_finality(s, int(now), total, int(effective[held[1]].sum()), int(effective[target_now].sum()))
    leak = int(previous) - int(s["finalized_epoch"]) > r.min_epochs_to_inactivity_penalty
    eligible = active[0] | (s["slashed"] & (now < s["withdrawable_epoch"]))
    scores = s["inactivity_scores"]
    moved = np.where(held[1], scores - np.minimum(scores, 1), scores + np.uint64(r.inactivity_score_bias))
    if not leak:
        moved = moved - np.minimum(moved, np.uint64(r.inactivity_score_recovery_rate))
    s["inactivity_scores"] = np.where(eligible, moved, scores)

    base = effective // ETH * np.uint64(r.base_reward_factor * 10**9 // math.isqrt(total))
    balances = s["balances"]
    for mask, weight, penalised in zip(held, (14, 26, 14), (True, True, False), strict=True):
        held_increments = np.uint64(int(effective[mask].sum()) // 10**9)
        reward = base * np.uint64(weight) * held_increments // np.uint64(total // 10**9 * 64)
        balances = balances + np.where(eligible & mask & (not leak), reward, 0)
        if penalised:
            loss = np.where(eligible & ~mask, base * np.uint64(weight) // np.uint64(64), 0)
            balances = balances - np.minimum(balances, loss)
    quotient = np.uint64(r.inactivity_score_bias * r.inactivity_penalty_quotient)
    loss = np.where(eligible & ~held[1], effective * s["inactivity_scores"] // quotient, 0)
    balances = balances - np.minimum(balances, loss)
    slashed = min(int(s["slashings"].sum()) * r.proportional_slashing_multiplier, total)
    due = s["slashed"] & (s["withdrawable_epoch"] == now + np.uint64(r.epochs_per_slashings_vector // 2))
    loss = np.where(due, effective // ETH * np.uint64(slashed // (total // 10**9)), 0)
    s["balances"] = balances = balances - np.minimum(balances, loss)

    outside = (balances + ETH // np.uint64(4) < effective) | (effective + ETH * np.uint64(5) // np.uint64(4) < balances)
    most = np.where(s["cred_prefix"] == 2, np.uint64(2048) * ETH, np.uint64(32) * ETH)
    s["effective_balance"] = np.where(outside, np.minimum(balances - balances % ETH, most), effective)
    s["slashings"] = s["slashings"].copy()
    s["slashings"][(int(now) + 1) % r.epochs_per_slashings_vector] = 0
    s["previous_epoch_participation"] = votes[1]
    s["slot"] = s["slot"] + r.slots_per_epoch
    return s


def _numpy_finality(s: Arrays, now: int, total: int, previous_target: int, current_target: int) -> None:
    old_previous, old_current = s["previous_justified_epoch"], s["current_justified_epoch"]
    bits = [current_target * 3 >= total * 2, *s["justification_bits"][:3]]
    if previous_target * 3 >= total * 2:
        s["current_justified_epoch"], bits[1] = now - 1, True
    if bits[0]:
        s["current_justified_epoch"] = now
    s["previous_justified_epoch"], s["justification_bits"] = old_current, np.asarray(bits)
    for needed, source, distance in (
        (bits[1:4], old_previous, 3),
        (bits[1:3], old_previous, 2),
        (bits[:3], old_current, 2),
        (bits[:2], old_current, 1),
    ):
        if all(needed) and source + distance == now:
            s["finalized_epoch"] = source
