"""The state of the beacon chain, as far as stake and rewards depend on it, as a structure of arrays.

Amounts are Gwei, times are epochs or slots, all uint64; "never" is the largest uint64. Validators are rows [V], of
which the first `n_validators` are in use; the others are blank (no balance, never active), so that deposits can add
validators without a change of shape. Queues have a fixed capacity and a length in the same way.
"""

from __future__ import annotations

import jax

from jaxstake.core.pytree import branch, leaf, pytree


@pytree
class PendingDeposits:
    """`pending_deposits` (Electra): deposits waiting for activation churn, [C]."""

    pubkey_id: jax.Array = leaf(meaning="key of the depositing validator; new keys create a validator")
    cred_prefix: jax.Array = leaf(meaning="first byte of its withdrawal credentials")
    amount: jax.Array = leaf(unit="Gwei")
    slot: jax.Array = leaf(unit="slot", meaning="slot of the request; 0 for what is no request")
    length: jax.Array = leaf()


@pytree
class PendingConsolidations:
    """`pending_consolidations` (Electra): validators about to be merged into others, [C]."""

    source: jax.Array = leaf(meaning="validator index")
    target: jax.Array = leaf(meaning="validator index")
    length: jax.Array = leaf()


@pytree
class PendingPartialWithdrawals:
    """`pending_partial_withdrawals` (Electra): requested withdrawals of a part of a balance, [C]."""

    validator_index: jax.Array = leaf()
    amount: jax.Array = leaf(unit="Gwei")
    withdrawable_epoch: jax.Array = leaf(unit="epoch")
    length: jax.Array = leaf()


@pytree
class Builders:
    """`builders` (Gloas), [C]."""

    balance: jax.Array = leaf(unit="Gwei")
    withdrawable_epoch: jax.Array = leaf(unit="epoch")
    length: jax.Array = leaf()


@pytree
class BuilderPendingPayments:
    """`builder_pending_payments` (Gloas): one for each slot of the previous and of the current epoch, [2 * slots]."""

    weight: jax.Array = leaf(unit="Gwei", meaning="stake that attested to the slot")
    amount: jax.Array = leaf(unit="Gwei")
    builder_index: jax.Array = leaf()
    proposer_index: jax.Array = leaf(meaning="validator index")


@pytree
class BuilderPendingWithdrawals:
    """`builder_pending_withdrawals` (Gloas): payments of builders that reached their quorum, [C]."""

    amount: jax.Array = leaf(unit="Gwei")
    builder_index: jax.Array = leaf()
    length: jax.Array = leaf()


@pytree
class BeaconState:
    """The economic part of the specification's `BeaconState`, under its names; block and state roots are left out.

    Fields of a fork that is yet to come are None. `beacon.arrays.state_from_arrays` builds one, with every check.

    Source: `BeaconState` and `Validator` (phase 0 to Gloas).
    """

    slot: jax.Array = leaf(unit="slot")
    n_validators: jax.Array = leaf(meaning="rows in use")
    overflowed: jax.Array = leaf(meaning="whether a validator or a queue entry was lost for lack of capacity")

    # Finality. A checkpoint is its epoch.
    justification_bits: jax.Array = leaf(meaning="[4], the current epoch first")
    previous_justified_epoch: jax.Array = leaf(unit="epoch")
    current_justified_epoch: jax.Array = leaf(unit="epoch")
    finalized_epoch: jax.Array = leaf(unit="epoch")

    # Validators, [V].
    balances: jax.Array = leaf(unit="Gwei")
    effective_balance: jax.Array = leaf(unit="Gwei", meaning="a multiple of the increment")
    inactivity_scores: jax.Array = leaf()
    previous_epoch_participation: jax.Array = leaf(meaning="bits: timely source, target, head")
    current_epoch_participation: jax.Array = leaf(meaning="bits: timely source, target, head")
    slashed: jax.Array = leaf()
    activation_eligibility_epoch: jax.Array = leaf(unit="epoch")
    activation_epoch: jax.Array = leaf(unit="epoch")
    exit_epoch: jax.Array = leaf(unit="epoch")
    withdrawable_epoch: jax.Array = leaf(unit="epoch")
    cred_prefix: jax.Array = leaf(meaning="withdrawal credentials: 0 BLS key, 1 address, 2 compounding")
    pubkey_id: jax.Array = leaf(meaning="integer in place of the public key")

    slashings: jax.Array = leaf(unit="Gwei", meaning="[EPOCHS_PER_SLASHINGS_VECTOR], slashed in each epoch")

    # Withdrawals, from Capella.
    next_withdrawal_index: jax.Array = leaf()
    next_withdrawal_validator_index: jax.Array = leaf()

    # From Electra.
    deposit_requests_start_index: jax.Array = leaf(default=None)
    eth1_deposit_index: jax.Array = leaf(default=None)
    deposit_balance_to_consume: jax.Array = leaf(default=None, unit="Gwei")
    exit_balance_to_consume: jax.Array = leaf(default=None, unit="Gwei")
    earliest_exit_epoch: jax.Array = leaf(default=None, unit="epoch")
    consolidation_balance_to_consume: jax.Array = leaf(default=None, unit="Gwei")
    earliest_consolidation_epoch: jax.Array = leaf(default=None, unit="epoch")
    pending_deposits: PendingDeposits = branch(default_factory=lambda: None)
    pending_partial_withdrawals: PendingPartialWithdrawals = branch(default_factory=lambda: None)
    pending_consolidations: PendingConsolidations = branch(default_factory=lambda: None)

    # From Gloas.
    next_withdrawal_builder_index: jax.Array = leaf(default=None)
    builders: Builders = branch(default_factory=lambda: None)
    builder_pending_payments: BuilderPendingPayments = branch(default_factory=lambda: None)
    builder_pending_withdrawals: BuilderPendingWithdrawals = branch(default_factory=lambda: None)
