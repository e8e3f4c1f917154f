"""One epoch transition."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from jaxstake.beacon.accessors import get_epoch_view
from jaxstake.beacon.checks import require_state
from jaxstake.beacon.finality import process_justification_and_finalization
from jaxstake.beacon.pending import (
    process_builder_pending_payments,
    process_pending_consolidations,
    process_pending_deposits,
)
from jaxstake.beacon.registry import (
    process_effective_balance_updates,
    process_registry_updates,
    process_slashings,
    process_slashings_reset,
)
from jaxstake.beacon.rewards import process_inactivity_updates, process_rewards_and_penalties
from jaxstake.beacon.rules import Rules, has_balance_queues, has_builders
from jaxstake.beacon.state import BeaconState

Step = Callable[..., BeaconState]
WITH_VIEW: frozenset[Step] = frozenset(
    {
        process_justification_and_finalization,
        process_inactivity_updates,
        process_rewards_and_penalties,
        process_slashings,
        process_pending_deposits,
        process_builder_pending_payments,
    }
)
"""Steps that need the view of the epoch. They work it out themselves, unless `view` gives it."""


def process_participation_flag_updates(rules: Rules, state: BeaconState) -> BeaconState:
    """The current epoch's participation becomes the previous one's, and starts empty (Altair)."""
    current = state.current_epoch_participation
    return dataclasses.replace(
        state, previous_epoch_participation=current, current_epoch_participation=jnp.zeros_like(current)
    )


def steps(rules: Rules) -> tuple[Step, ...]:
    """The steps of an epoch transition at a fork, in order.

    Example:
        >>> from jaxstake.beacon import rules
        >>> len(steps(rules.get("deneb"))), len(steps(rules.get("electra"))), len(steps(rules.get("gloas")))
        (8, 10, 11)
    """
    found: list[Step] = [
        process_justification_and_finalization,
        process_inactivity_updates,
        process_rewards_and_penalties,
        process_registry_updates,
        process_slashings,
    ]
    if has_balance_queues(rules):
        found += [process_pending_deposits, process_pending_consolidations]
    if has_builders(rules):
        found += [process_builder_pending_payments]
    return (
        *found,
        process_effective_balance_updates,
        process_slashings_reset,
        process_participation_flag_updates,
    )


def process_epoch(rules: Rules, state: BeaconState) -> BeaconState:
    """The transition at the end of an epoch; the slot stays, as the specification moves it on afterwards.

    Args:
        rules: of the fork; static under `jit`.
        state: at the last slot of the epoch.

    Raises:
        ValueError: JAX is not in 64-bit mode, or the state is of an earlier fork than the rules.

    Source: `process_epoch` (Altair to Gloas), without the parts that touch neither stake nor rewards: historical
    summaries, RANDAO mixes, and the drawing of proposers and committees, which are arguments of the block functions.
    """
    require_state(rules, state)
    # Who counts, votes and effective balances stay as they are until the last of the steps that read the view.
    view = get_epoch_view(rules, state)
    for step in steps(rules):
        state = step(rules, state, view=view) if step in WITH_VIEW else step(rules, state)
    return state
