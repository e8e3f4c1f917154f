"""Epochs in which nobody enters, leaves or is slashed. They leave most arrays alone, so they are fast.

A step that may write an array makes XLA copy it, also where nothing is written, and a million validators have more
than ten such arrays. So a simulation goes through quiet epochs in a loop of their own, to the same result. Who counts
is worked out once for a stretch of them, which ends where it changes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import Standing, get_current_epoch, get_standing
from jaxstake.beacon.behaviour import Behaviour, arriving, due
from jaxstake.beacon.epoch import Step, process_pending_consolidations, steps
from jaxstake.beacon.integers import NEVER, saturating_subtract
from jaxstake.beacon.pending import process_pending_deposits
from jaxstake.beacon.registry import process_registry_updates, process_slashings
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState
from jaxstake.beacon.sweep import sweeps_alone
from jaxstake.core.pytree import branch, leaf, pytree

IDLE: frozenset[Step] = frozenset(
    {process_registry_updates, process_slashings, process_pending_deposits, process_pending_consolidations}
)
"""Steps that do nothing in a quiet epoch, but for setting `deposit_balance_to_consume` to zero."""


@pytree
class Watch:
    """What stays the same through a stretch of quiet epochs, of every validator."""

    standing: Standing = branch()
    until: jax.Array = leaf(unit="epoch", meaning="the first in which another validator counts, or one is punished")
    outside: jax.Array = leaf(meaning="[V], not in the activation queue and never was")
    inside: jax.Array = leaf(meaning="[V], active or about to be, with no exit")
    waiting: jax.Array = leaf(meaning="whether anybody is in the activation queue")


def watch(rules: Rules, state: BeaconState) -> Watch:
    """The watch over a state, for the stretch of quiet epochs that begins with it, if one does."""
    outside = state.activation_eligibility_epoch == NEVER
    idle = state.activation_epoch == NEVER
    return Watch(
        standing=get_standing(rules, state),
        until=_next_change(rules, state),
        outside=outside,
        inside=~idle & (state.exit_epoch == NEVER),
        waiting=jnp.any(~outside & idle),
    )


def _next_change(rules: Rules, state: BeaconState) -> jax.Array:
    """The first epoch to come in which `get_standing` differs or a correlation penalty is due; now if one is due."""
    now = get_current_epoch(rules, state)
    released = jnp.where(state.slashed, state.withdrawable_epoch, NEVER)
    half = jnp.uint64(rules.epochs_per_slashings_vector // 2)
    punished = jnp.where(state.slashed, saturating_subtract(state.withdrawable_epoch, half), NEVER)
    # Who was active in the epoch before counts too. NEVER + 1 wraps around to 0, which is not above `now`.
    changes = (state.activation_epoch, state.activation_epoch + 1, state.exit_epoch, state.exit_epoch + 1, released)
    soonest = jnp.where(punished >= now, punished, NEVER)
    for change in changes:
        soonest = jnp.minimum(soonest, jnp.where(change > now, change, NEVER))
    return jnp.min(soonest, initial=NEVER)


def is_quiet(
    rules: Rules, state: BeaconState, behaviour: Behaviour, elapsed: jax.Array, watched: Watch | None = None
) -> jax.Array:
    """Whether the next epoch is sure to be quiet.

    The watch still holds, nobody waits for activation, nobody can enter the queue or is to be ejected, no deposit,
    consolidation or requested withdrawal is pending, no builder is there to be paid, and no schedule is due.

    Args:
        rules: of the fork.
        state: in the first slot of the epoch.
        behaviour: whose schedules count.
        elapsed: epochs since the start.
        watched: from `watch`, of an earlier state of the same stretch; of this one if None.
    """
    nothing_due = sweeps_alone(rules, state)
    if has_balance_queues(rules):
        nothing_due &= (state.pending_deposits.length == 0) & (state.pending_consolidations.length == 0)
    for event in (*behaviour.slashings, *behaviour.exits, *behaviour.merges):
        start, end = due(event, elapsed)
        nothing_due &= start == end
    for entry in behaviour.deposits:
        nothing_due &= arriving(entry, elapsed) == 0
    # Validators are looked at only where it matters.
    return jax.lax.cond(nothing_due, lambda: _stays(rules, state, watched), lambda: jnp.asarray(False))


def _stays(rules: Rules, state: BeaconState, watched: Watch | None) -> jax.Array:
    """Whether every validator stays in or out of the active set and of the queue to it."""
    watched = watch(rules, state) if watched is None else watched
    full = rules.min_activation_balance_gwei if has_balance_queues(rules) else rules.max_effective_balance_gwei
    effective = state.effective_balance
    moves = (watched.outside & (effective >= full)) | (watched.inside & (effective <= rules.ejection_balance_gwei))
    return ~watched.waiting & (get_current_epoch(rules, state) < watched.until) & ~jnp.any(moves)


def quiet_steps(rules: Rules) -> tuple[Step, ...]:
    """The steps of an epoch transition that do something in a quiet epoch."""
    return tuple(step for step in steps(rules) if step not in IDLE)
