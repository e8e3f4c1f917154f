"""How much may enter, leave and consolidate in an epoch, and the epochs that the queues give out.

The limits are functions of the total active balance (Gwei) or of the number of active validators alone.

Exits in a row. Each spends its balance of what an epoch has left; with `c` left at first, `L` per epoch and `S_k` the
balance of the first k exits, the k-th is pushed back by the smallest number of epochs A with `c + A L >= S_k`. `S_k`
grows with k, so this needs no loop: `A_k = ceil(max(S_k - c, 0) / L)`.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import compute_activation_exit_epoch, get_current_epoch, get_total_active_balance
from jaxstake.beacon.integers import NEVER, ceil_divide, saturating_subtract
from jaxstake.beacon.rules import Rules, has_builders
from jaxstake.beacon.state import BeaconState


def get_validator_churn_limit(rules: Rules, *, active_validators: jax.Array) -> jax.Array:
    """Validators that may leave in an epoch, and enter before Deneb (phase 0)."""
    return jnp.maximum(active_validators // rules.validator_churn_limit_quotient, rules.min_per_epoch_churn_limit)


def get_validator_activation_churn_limit(rules: Rules, *, active_validators: jax.Array) -> jax.Array:
    """Validators that may enter in an epoch: the churn limit, from Deneb at most 8."""
    limit = get_validator_churn_limit(rules, active_validators=active_validators)
    most = rules.max_per_epoch_activation_churn_limit
    return jnp.minimum(limit, most) if most else limit


def get_balance_churn_limit(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Balance that may move in an epoch in all, Gwei, whole increments (Electra)."""
    return _whole_increments(
        rules,
        jnp.maximum(total_active_balance // rules.churn_limit_quotient, rules.min_per_epoch_churn_limit_gwei),
    )


def get_activation_exit_churn_limit(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Balance that may enter, and as much leave, in an epoch, Gwei (Electra)."""
    limit = get_balance_churn_limit(rules, total_active_balance=total_active_balance)
    return jnp.minimum(limit, rules.max_per_epoch_activation_exit_churn_limit_gwei)


def get_activation_churn_limit(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Balance that may enter in an epoch, Gwei (Gloas; before, `get_activation_exit_churn_limit` of Electra)."""
    if not has_builders(rules):
        return get_activation_exit_churn_limit(rules, total_active_balance=total_active_balance)
    limit = get_exit_churn_limit(rules, total_active_balance=total_active_balance)
    return jnp.minimum(limit, rules.max_per_epoch_activation_churn_limit_gwei)


def get_exit_churn_limit(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Balance that may leave in an epoch, Gwei (Gloas; before, `get_activation_exit_churn_limit` of Electra)."""
    if not has_builders(rules):
        return get_activation_exit_churn_limit(rules, total_active_balance=total_active_balance)
    return get_balance_churn_limit(rules, total_active_balance=total_active_balance)


def get_consolidation_churn_limit(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Balance that may be consolidated in an epoch, Gwei: what exits leave of all (Electra), its own share (Gloas)."""
    if has_builders(rules):
        return _whole_increments(rules, total_active_balance // rules.consolidation_churn_limit_quotient)
    total = get_balance_churn_limit(rules, total_active_balance=total_active_balance)
    return total - get_activation_exit_churn_limit(rules, total_active_balance=total_active_balance)


def place_in_queue(
    *,
    amounts: jax.Array,
    per_epoch: jax.Array,
    earliest_epoch: jax.Array,
    balance_to_consume: jax.Array,
    first_epoch: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Epochs that a queue gives to requests in a row, and its counters after them; see the module for the equation.

    Args:
        amounts: balances of the requests in order, Gwei [K].
        per_epoch: churn limit, Gwei.
        earliest_epoch: head of the queue before.
        balance_to_consume: what is left in that epoch, Gwei.
        first_epoch: the first epoch that the lookahead allows.

    Returns:
        Epochs [K], the head of the queue and what is left in it. Without churn a request that does not fit is never
        placed, and the queue stays as it was; requests must then come one at a time.

    Source: `compute_exit_epoch_and_update_churn`, `compute_consolidation_epoch_and_update_churn` (Electra).
    """
    start = jnp.maximum(earliest_epoch, first_epoch)
    left = jnp.where(earliest_epoch < start, per_epoch, balance_to_consume)
    consumed = jnp.cumsum(amounts, dtype=amounts.dtype)
    beyond = saturating_subtract(consumed, left)
    waits = ceil_divide(beyond, jnp.maximum(per_epoch, 1))
    placed = (beyond == 0) | (per_epoch > 0)
    last_placed = placed[-1]
    new_epoch = jnp.where(last_placed, start + waits[-1], earliest_epoch)
    new_left = jnp.where(last_placed, left + waits[-1] * per_epoch - consumed[-1], balance_to_consume)
    return jnp.where(placed, start + waits, NEVER), new_epoch, new_left


def compute_exit_epochs_and_update_churn(
    rules: Rules, state: BeaconState, exit_balances: jax.Array
) -> tuple[BeaconState, jax.Array]:
    """Exit epochs of exits in a row, [K] Gwei to [K] epochs, and the state after them (Electra, Gloas).

    Source: `compute_exit_epoch_and_update_churn`, once for each.
    """
    total = get_total_active_balance(rules, state)
    epochs, earliest, left = place_in_queue(
        amounts=exit_balances,
        per_epoch=get_exit_churn_limit(rules, total_active_balance=total),
        earliest_epoch=state.earliest_exit_epoch,
        balance_to_consume=state.exit_balance_to_consume,
        first_epoch=compute_activation_exit_epoch(rules, get_current_epoch(rules, state)),
    )
    return dataclasses.replace(state, earliest_exit_epoch=earliest, exit_balance_to_consume=left), epochs


def compute_exit_epoch_and_update_churn(
    rules: Rules, state: BeaconState, exit_balance: jax.Array
) -> tuple[BeaconState, jax.Array]:
    """Exit epoch of one exit of a balance in Gwei, and the state after it (Electra, Gloas)."""
    state, epochs = compute_exit_epochs_and_update_churn(rules, state, exit_balance[None])
    return state, epochs[0]


def compute_consolidation_epoch_and_update_churn(
    rules: Rules, state: BeaconState, consolidation_balance: jax.Array, *, total_active_balance: jax.Array | None = None
) -> tuple[BeaconState, jax.Array]:
    """Epoch of one consolidation of a balance in Gwei, and the state after it (Electra, Gloas).

    Where the churn limit is zero the specification divides by zero; the epoch is "never" then, the state unchanged.
    """
    total = get_total_active_balance(rules, state) if total_active_balance is None else total_active_balance
    epochs, earliest, left = place_in_queue(
        amounts=consolidation_balance[None],
        per_epoch=get_consolidation_churn_limit(rules, total_active_balance=total),
        earliest_epoch=state.earliest_consolidation_epoch,
        balance_to_consume=state.consolidation_balance_to_consume,
        first_epoch=compute_activation_exit_epoch(rules, get_current_epoch(rules, state)),
    )
    state = dataclasses.replace(state, earliest_consolidation_epoch=earliest, consolidation_balance_to_consume=left)
    return state, epochs[0]


def _whole_increments(rules: Rules, amount: jax.Array) -> jax.Array:
    return amount - amount % rules.effective_balance_increment_gwei
