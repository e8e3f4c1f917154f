"""What the specification reads off a state: epochs, who is active, totals, base rewards.

Sets of validators are masks [V]. Every function takes the rules of the fork and the state, and changes nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.beacon.integers import NEVER, count, integer_squareroot, masked_sum, sums
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState
from jaxstake.core.pytree import branch, leaf, pytree

SOURCE, TARGET, HEAD = range(3)
"""Flag indices of participation (Altair)."""
ETH1_ADDRESS_WITHDRAWAL_PREFIX, COMPOUNDING_WITHDRAWAL_PREFIX = 1, 2


def get_current_epoch(rules: Rules, state: BeaconState) -> jax.Array:
    """Epoch of the slot of the state (phase 0)."""
    return state.slot // rules.slots_per_epoch


def get_previous_epoch(rules: Rules, state: BeaconState) -> jax.Array:
    """The epoch before the current one, or the genesis epoch (phase 0)."""
    current = get_current_epoch(rules, state)
    return jnp.maximum(current, 1) - 1


def compute_activation_exit_epoch(rules: Rules, epoch: jax.Array) -> jax.Array:
    """The first epoch in which an activation or exit asked for in `epoch` can take effect (phase 0)."""
    return epoch + (1 + rules.max_seed_lookahead)


def is_active_validator(state: BeaconState, epoch: jax.Array) -> jax.Array:
    """Mask [V] of the validators that are active in an epoch (phase 0)."""
    return (state.activation_epoch <= epoch) & (epoch < state.exit_epoch)


def is_slashable_validator(state: BeaconState, epoch: jax.Array) -> jax.Array:
    """Mask [V] of the validators that can be slashed in an epoch (phase 0)."""
    return ~state.slashed & (state.activation_epoch <= epoch) & (epoch < state.withdrawable_epoch)


def get_eligible_validator_indices(rules: Rules, state: BeaconState) -> jax.Array:
    """Mask [V] of who is rewarded and penalized: active in the previous epoch, or slashed and not yet withdrawable."""
    previous = get_previous_epoch(rules, state)
    return is_active_validator(state, previous) | (state.slashed & (previous + 1 < state.withdrawable_epoch))


def has_flag(participation: jax.Array, flag_index: int) -> jax.Array:
    """Whether participation bits hold a flag (Altair)."""
    return participation & (1 << flag_index) != 0


@pytree
class Standing:
    """Who counts in an epoch, masks [V]. A mask takes one byte a validator; the epochs that it follows from take 24."""

    active: jax.Array = leaf(meaning="in the epoch")
    unslashed: jax.Array = leaf(meaning="active and not slashed")
    unslashed_before: jax.Array = leaf(meaning="active in the epoch before, and not slashed")
    eligible: jax.Array = leaf(meaning="is rewarded and penalized")


def get_standing(rules: Rules, state: BeaconState) -> Standing:
    """Who counts in the current epoch.

    It stays as it is through an epoch transition: exits and activations are for later epochs, and validators that a
    deposit creates are not active.
    """
    active = is_active_validator(state, get_current_epoch(rules, state))
    before = is_active_validator(state, get_previous_epoch(rules, state))
    return Standing(
        active=active,
        unslashed=active & ~state.slashed,
        unslashed_before=before & ~state.slashed,
        eligible=get_eligible_validator_indices(rules, state),
    )


def get_unslashed_participating_indices(
    rules: Rules, state: BeaconState, flag_index: int, *, current: bool = False, standing: Standing | None = None
) -> jax.Array:
    """Mask [V] of who is active, not slashed and has a flag, in the previous epoch or in the current one (Altair)."""
    standing = get_standing(rules, state) if standing is None else standing
    if current:
        return standing.unslashed & has_flag(state.current_epoch_participation, flag_index)
    return standing.unslashed_before & has_flag(state.previous_epoch_participation, flag_index)


@pytree
class EpochView:
    """What the steps of an epoch's accounting share: who counts, and totals, Gwei."""

    standing: Standing = branch()
    total_active: jax.Array = leaf(unit="Gwei", meaning="at least one increment")
    previous: tuple[jax.Array, ...] = leaf(
        unit="Gwei", meaning="behind source, target and head of the previous epoch, at least one increment each"
    )
    current: tuple[jax.Array, ...] = leaf(
        unit="Gwei", meaning="behind source, target and head of the current epoch, 0 if nobody is"
    )


def get_epoch_view(rules: Rules, state: BeaconState, *, standing: Standing | None = None) -> EpochView:
    """The total active balance and the stake behind each flag, in one pass.

    Source: `get_total_active_balance` (phase 0), `get_total_balance` of `get_unslashed_participating_indices` (Altair).
    """
    standing = get_standing(rules, state) if standing is None else standing

    def held(flag: int, *, current: bool) -> jax.Array:
        return get_unslashed_participating_indices(rules, state, flag, current=current, standing=standing)

    members = [standing.active, *(held(flag, current=now) for now in (False, True) for flag in (SOURCE, TARGET, HEAD))]
    found = sums(*(jnp.where(mask, state.effective_balance, 0) for mask in members))
    total, *before = (jnp.maximum(one, rules.effective_balance_increment_gwei) for one in found[:4])
    return EpochView(
        standing=standing,
        total_active=total,
        previous=tuple(before),
        current=found[4:],
    )


def total_active_of(rules: Rules, state: BeaconState, view: EpochView | None) -> jax.Array:
    """The total active balance, from the view of the epoch if it is at hand."""
    return get_total_active_balance(rules, state) if view is None else view.total_active


def get_total_active_balance(rules: Rules, state: BeaconState) -> jax.Array:
    """Effective balance of all active validators, at least one increment, Gwei (phase 0)."""
    active = is_active_validator(state, get_current_epoch(rules, state))
    return jnp.maximum(masked_sum(state.effective_balance, active), rules.effective_balance_increment_gwei)


def get_active_validator_count(rules: Rules, state: BeaconState) -> jax.Array:
    """Number of active validators, the length of `get_active_validator_indices` (phase 0)."""
    return count(is_active_validator(state, get_current_epoch(rules, state)))


def get_finality_delay(rules: Rules, state: BeaconState) -> jax.Array:
    """Epochs from the finalized one to the previous one (phase 0)."""
    return get_previous_epoch(rules, state) - state.finalized_epoch


def is_in_inactivity_leak(rules: Rules, state: BeaconState) -> jax.Array:
    """Whether finality is more than four epochs late (phase 0)."""
    return get_finality_delay(rules, state) > rules.min_epochs_to_inactivity_penalty


def get_base_reward_per_increment(rules: Rules, *, total_active_balance: jax.Array) -> jax.Array:
    """Base reward of one increment, Gwei: `EBI * BASE_REWARD_FACTOR // isqrt(total)` (Altair)."""
    per_root = rules.effective_balance_increment_gwei * rules.base_reward_factor
    return per_root // integer_squareroot(total_active_balance)


def increments(rules: Rules, state: BeaconState) -> jax.Array:
    """Effective balances in increments, [V]."""
    return state.effective_balance // rules.effective_balance_increment_gwei


def get_base_reward(rules: Rules, state: BeaconState) -> jax.Array:
    """Base reward of every validator, active or not, Gwei [V] (Altair)."""
    total = get_total_active_balance(rules, state)
    return increments(rules, state) * get_base_reward_per_increment(rules, total_active_balance=total)


def has_compounding_withdrawal_credential(cred_prefix: jax.Array) -> jax.Array:
    """Whether credentials are compounding, 0x02 (Electra)."""
    return cred_prefix == COMPOUNDING_WITHDRAWAL_PREFIX


def has_execution_withdrawal_credential(rules: Rules, cred_prefix: jax.Array) -> jax.Array:
    """Whether credentials name an address to pay to: 0x01 (Capella), and 0x02 (Electra)."""
    has_address = cred_prefix == ETH1_ADDRESS_WITHDRAWAL_PREFIX
    if not has_balance_queues(rules):
        return has_address
    return has_address | has_compounding_withdrawal_credential(cred_prefix)


def get_max_effective_balance(rules: Rules, cred_prefix: jax.Array) -> jax.Array:
    """Largest effective balance for credentials, Gwei: one for all, from Electra larger for compounding ones."""
    if not has_balance_queues(rules):
        return jnp.full(cred_prefix.shape, rules.max_effective_balance_gwei, jnp.uint64)
    return jnp.where(
        has_compounding_withdrawal_credential(cred_prefix),
        jnp.uint64(rules.max_effective_balance_gwei),
        jnp.uint64(rules.min_activation_balance_gwei),
    )


def is_eligible_for_activation_queue(rules: Rules, state: BeaconState) -> jax.Array:
    """Mask [V] of who enters the activation queue: a full effective balance, from Electra at least 32 ETH."""
    waiting = state.activation_eligibility_epoch == NEVER
    if has_balance_queues(rules):
        return waiting & (state.effective_balance >= rules.min_activation_balance_gwei)
    return waiting & (state.effective_balance == rules.max_effective_balance_gwei)


def is_eligible_for_activation(state: BeaconState) -> jax.Array:
    """Mask [V] of who can be activated: placed in the queue by a finalized epoch, not activated yet (phase 0)."""
    return (state.activation_eligibility_epoch <= state.finalized_epoch) & (state.activation_epoch == NEVER)
