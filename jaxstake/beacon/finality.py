"""Justification and finalization. A checkpoint is its epoch; block roots are left out."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import TARGET, EpochView, get_current_epoch, get_epoch_view, get_previous_epoch
from jaxstake.beacon.rules import Rules
from jaxstake.beacon.state import BeaconState


def process_justification_and_finalization(
    rules: Rules, state: BeaconState, *, view: EpochView | None = None
) -> BeaconState:
    """Justify the epochs whose target two thirds of the stake attested, and finalize; not in the first two epochs.

    Source: `process_justification_and_finalization` (Altair).
    """
    view = get_epoch_view(rules, state) if view is None else view
    new = weigh_justification_and_finalization(
        rules,
        state,
        total_active_balance=view.total_active,
        previous_epoch_target_balance=view.previous[TARGET],
        current_epoch_target_balance=jnp.maximum(view.current[TARGET], rules.effective_balance_increment_gwei),
    )
    early = get_current_epoch(rules, state) <= 1
    names = ("justification_bits", "previous_justified_epoch", "current_justified_epoch", "finalized_epoch")
    kept = {name: jnp.where(early, getattr(state, name), getattr(new, name)) for name in names}
    return dataclasses.replace(state, **kept)


def weigh_justification_and_finalization(
    rules: Rules,
    state: BeaconState,
    *,
    total_active_balance: jax.Array,
    previous_epoch_target_balance: jax.Array,
    current_epoch_target_balance: jax.Array,
) -> BeaconState:
    """Checkpoints and justification bits, given who attested to the targets of two epochs, Gwei.

    Source: `weigh_justification_and_finalization` (phase 0).
    """
    current, previous = get_current_epoch(rules, state), get_previous_epoch(rules, state)
    old_previous, old_current = state.previous_justified_epoch, state.current_justified_epoch
    previous_reached = previous_epoch_target_balance * 3 >= total_active_balance * 2
    current_reached = current_epoch_target_balance * 3 >= total_active_balance * 2

    justified = jnp.where(previous_reached, previous, old_current)
    justified = jnp.where(current_reached, current, justified)
    old = state.justification_bits
    bits = jnp.stack([current_reached, old[0] | previous_reached, old[1], old[2]])

    finalized = state.finalized_epoch
    for bits_needed, source, distance in (
        (bits[1:4], old_previous, 3),
        (bits[1:3], old_previous, 2),
        (bits[0:3], old_current, 2),
        (bits[0:2], old_current, 1),
    ):
        finalized = jnp.where(jnp.all(bits_needed) & (source + distance == current), source, finalized)
    return dataclasses.replace(
        state,
        justification_bits=bits,
        previous_justified_epoch=old_current,
        current_justified_epoch=justified,
        finalized_epoch=finalized,
    )
