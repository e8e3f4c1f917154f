"""The queues that an epoch works off: deposits, consolidations (Electra), payments of builders (Gloas)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon import queues
from jaxstake.beacon.accessors import EpochView, get_current_epoch, get_max_effective_balance, total_active_of
from jaxstake.beacon.churn import get_activation_churn_limit
from jaxstake.beacon.integers import NEVER, first
from jaxstake.beacon.rules import Rules
from jaxstake.beacon.state import BeaconState, BuilderPendingPayments


def process_pending_deposits(rules: Rules, state: BeaconState, *, view: EpochView | None = None) -> BeaconState:
    """Credit the deposits at the head of the queue that finality and churn let in; new keys create validators.

    At most 16 deposits are looked at. Which of them are reached follows from cumulative sums, without a loop: deposits
    of exiting validators are moved to the end, those of withdrawn ones cost no churn, and the first that does not fit
    stops the queue.

    Source: `process_pending_deposits`, `apply_pending_deposit` (Electra, Fulu, Gloas); signatures are taken as valid.
    """
    queue, window = state.pending_deposits, rules.max_pending_deposits_per_epoch
    head = {name: _head(column, window) for name, column in queues.columns(queue).items()}
    index = _validator_of(state, head["pubkey_id"])
    known = index < state.balances.shape[0]
    withdrawable = jnp.where(known, state.withdrawable_epoch.at[index].get(mode="clip"), NEVER)
    exit_epoch = jnp.where(known, state.exit_epoch.at[index].get(mode="clip"), NEVER)
    withdrawn = withdrawable < get_current_epoch(rules, state) + 1
    postponed = ~withdrawn & (exit_epoch != NEVER)
    consumes = ~withdrawn & ~postponed

    total = total_active_of(rules, state, view)
    available = state.deposit_balance_to_consume + get_activation_churn_limit(rules, total_active_balance=total)
    spent = jnp.cumsum(jnp.where(consumes, head["amount"], 0), dtype=jnp.uint64)
    held = head["slot"] > state.finalized_epoch * rules.slots_per_epoch
    if rules.waits_for_bridge:
        held |= (head["slot"] > 0) & (state.eth1_deposit_index < state.deposit_requests_start_index)
    held |= jnp.arange(window, dtype=jnp.uint64) >= queue.length
    too_much = consumes & (spent > available)
    n_done = first(held | too_much)
    places = jnp.arange(window, dtype=jnp.uint64)
    limited = jnp.any((places == n_done) & too_much & ~held)
    processed = jnp.max(jnp.where(places < n_done, spent, 0))

    done = places < n_done
    state = _apply_deposits(rules, state, head, index, done & ~postponed)
    rest, fits = queues.append(queues.drop_first(queue, n_done), head, done & postponed)
    return dataclasses.replace(
        state,
        pending_deposits=rest,
        overflowed=state.overflowed | ~fits,
        deposit_balance_to_consume=jnp.where(limited, available - processed, 0),
    )


def process_pending_consolidations(rules: Rules, state: BeaconState) -> BeaconState:
    """Move the effective balance of withdrawable sources to their targets, up to the first that is not withdrawable.

    Source: `process_pending_consolidations` (Electra).
    """
    queue = state.pending_consolidations
    if queues.capacity(queue) == 0:
        return state
    next_epoch = get_current_epoch(rules, state) + 1
    slashed = state.slashed[queue.source]
    waits = ~slashed & (state.withdrawable_epoch[queue.source] > next_epoch)
    n_done = first(waits | ~queues.filled(queue))

    def move(place: jax.Array, balances: jax.Array) -> jax.Array:
        source, target = queue.source[place], queue.target[place]
        amount = jnp.minimum(balances[source], state.effective_balance[source])
        amount = jnp.where(slashed[place], 0, amount)
        return balances.at[source].add(-amount).at[target].add(amount)

    balances = jax.lax.fori_loop(0, n_done.astype(jnp.int64), move, state.balances)
    return dataclasses.replace(state, balances=balances, pending_consolidations=queues.drop_first(queue, n_done))


def get_builder_payment_quorum_threshold(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Stake that must attest to a slot for its builder to pay, Gwei: 6/10 of a slot's share (Gloas)."""
    per_slot = total_active_balance // rules.slots_per_epoch
    return per_slot * rules.builder_payment_threshold_numerator // rules.builder_payment_threshold_denominator


def process_builder_pending_payments(rules: Rules, state: BeaconState, *, view: EpochView | None = None) -> BeaconState:
    """Queue the payments of the previous epoch that reached the quorum, and move the window on by an epoch.

    Source: `process_builder_pending_payments` (Gloas).
    """
    payments, slots = state.builder_pending_payments, rules.slots_per_epoch
    total = total_active_of(rules, state, view)
    quorum = get_builder_payment_quorum_threshold(rules, total_active_balance=total)
    columns = {field.name: getattr(payments, field.name) for field in dataclasses.fields(payments)}
    old = {name: columns[name][:slots] for name in ("amount", "builder_index")}
    queue, fits = queues.append(state.builder_pending_withdrawals, old, columns["weight"][:slots] >= quorum)
    moved = {
        name: jnp.concatenate([column[slots:], jnp.zeros_like(column[:slots])]) for name, column in columns.items()
    }
    return dataclasses.replace(
        state,
        builder_pending_payments=BuilderPendingPayments(**moved),
        builder_pending_withdrawals=queue,
        overflowed=state.overflowed | ~fits,
    )


def _head(column: jax.Array, window: int) -> jax.Array:
    """The first entries of a queue, zeros behind its capacity."""
    padding = jnp.zeros(max(window - column.shape[0], 0), column.dtype)
    return jnp.concatenate([column[:window], padding])


def _validator_of(state: BeaconState, pubkey_id: jax.Array) -> jax.Array:
    """Row of the validator with each key [K], or the number of rows for a key that is not registered.

    Keys are usually their own index, in which case those from the number of validators on are new. Where this fails
    somewhere in the registry, the keys are searched for.
    """
    rows = state.pubkey_id.shape[0]
    guess = jnp.minimum(pubkey_id, rows - 1).astype(jnp.int64)

    def search() -> jax.Array:
        # One key after another, as a table of all keys by all rows would be larger than the state.
        return jax.lax.map(lambda key: first(state.pubkey_id == key), pubkey_id).astype(jnp.int64)

    def look() -> jax.Array:
        row = jnp.arange(rows, dtype=jnp.uint64)
        in_order = jnp.all((state.pubkey_id == row) | (row >= state.n_validators))
        known = jnp.where(pubkey_id < state.n_validators, guess, rows)
        return jax.lax.cond(in_order, lambda: known, search)

    return jax.lax.cond(jnp.all(state.pubkey_id[guess] == pubkey_id), lambda: guess, look)


def _apply_deposits(
    rules: Rules, state: BeaconState, head: dict[str, jax.Array], index: jax.Array, applied: jax.Array
) -> BeaconState:
    """Add deposits [K] to balances; the first one of each unknown key registers it with its own credentials."""
    rows = state.balances.shape[0]
    keys, unknown = head["pubkey_id"], applied & (index == rows)
    same = (keys[None, :] == keys[:, None]) & unknown[None, :] & unknown[:, None]
    founder = jnp.argmax(same, axis=1)  # the first deposit of the same key
    creates = unknown & (founder == jnp.arange(keys.shape[0]))
    rank = jnp.cumsum(creates, dtype=jnp.int64) - 1
    n, created = state.n_validators.astype(jnp.int64), rank[-1] + 1
    row = jnp.where(unknown, n + rank[founder], index)
    new_row = jnp.where(creates, n + rank, rows)
    increment = rules.effective_balance_increment_gwei
    most = get_max_effective_balance(rules, head["cred_prefix"])
    effective = jnp.minimum(head["amount"] // increment * increment, most)
    return dataclasses.replace(
        state,
        balances=state.balances.at[jnp.where(applied, row, rows)].add(head["amount"], mode="drop"),
        effective_balance=state.effective_balance.at[new_row].set(effective, mode="drop"),
        cred_prefix=state.cred_prefix.at[new_row].set(head["cred_prefix"], mode="drop"),
        pubkey_id=state.pubkey_id.at[new_row].set(keys, mode="drop"),
        n_validators=jnp.minimum(n + created, rows).astype(jnp.uint64),
        overflowed=state.overflowed | (n + created > rows),
    )
