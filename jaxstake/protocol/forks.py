"""The constants of every fork, as one container of differentiable leaves per fork.

Field names are the specification's, in lower case and without the fork's suffix, holding the value in
effect at that fork; amounts in Gwei end in `_gwei`. A constant that a fork does not have, or that a later
one replaced by another unit, is None there. Two forks with the same fields (Altair and Bellatrix, Electra
and Fulu) are pytrees of one structure and share one compilation.

Derived quantities follow from the fields: a year of 365.25 days holds `epochs_per_year(fork)` epochs.
"""

from __future__ import annotations

import re
from typing import Literal

from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.leaves import unknown_name
from jaxstake.core.pytree import data_fields, leaf, pytree, static
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH, SECONDS_PER_DAY, SECONDS_PER_JULIAN_YEAR
from jaxstake.protocol import specification

NAMES = specification.NAMES
NEWEST_ON_MAINNET = "fulu"

Preset = Literal["mainnet", "minimal"]
ChurnRule = Literal["validators", "shared", "separate"]


@pytree
class Fork:
    """Constants in effect at one fork. Every number is a leaf; rules and array lengths are static.

    `churn_rule` says how the queues are limited: "validators" (a number of validators, to Deneb),
    "shared" (one balance for activations and exits, Electra and Fulu) or "separate" (Gloas).

    Source: ethereum/consensus-specs, see `jaxstake.protocol.specification`.
    """

    churn_rule: ChurnRule = static()

    # From phase 0.
    aggregate_due_bps: Scalar = leaf(unit="1e-4 slot")
    attestation_due_bps: Scalar = leaf(unit="1e-4 slot")
    base_rewards_per_epoch: Scalar = leaf()
    base_reward_factor: Scalar = leaf(domain=NON_NEGATIVE)
    churn_limit_quotient: Scalar = leaf(domain=POSITIVE)
    effective_balance_increment_gwei: Scalar = leaf(unit="Gwei", domain=POSITIVE)
    ejection_balance_gwei: Scalar = leaf(unit="Gwei", domain=NON_NEGATIVE)
    epochs_per_historical_vector: int = static()
    epochs_per_slashings_vector: Scalar = leaf(unit="epochs", domain=POSITIVE)
    far_future_epoch: int = static()
    genesis_epoch: int = static()
    genesis_slot: int = static()
    hysteresis_downward_multiplier: Scalar = leaf()
    hysteresis_quotient: Scalar = leaf()
    hysteresis_upward_multiplier: Scalar = leaf()
    inactivity_penalty_quotient: Scalar = leaf(domain=POSITIVE)
    justification_bits_length: int = static()
    max_attestations: Scalar = leaf()
    max_attester_slashings: Scalar = leaf()
    max_committees_per_slot: Scalar = leaf()
    max_deposits: Scalar = leaf()
    max_effective_balance_gwei: Scalar = leaf(unit="Gwei", domain=POSITIVE)
    max_proposer_slashings: Scalar = leaf()
    max_seed_lookahead: Scalar = leaf(unit="epochs", domain=NON_NEGATIVE)
    max_validators_per_committee: Scalar = leaf()
    max_voluntary_exits: Scalar = leaf()
    min_attestation_inclusion_delay: Scalar = leaf(unit="slots")
    min_deposit_amount_gwei: Scalar = leaf(unit="Gwei")
    min_epochs_to_inactivity_penalty: Scalar = leaf(unit="epochs")
    min_per_epoch_churn_limit: Scalar = leaf(default=None, unit="validators/epoch", domain=POSITIVE)
    min_seed_lookahead: Scalar = leaf(unit="epochs", domain=NON_NEGATIVE)
    min_slashing_penalty_quotient: Scalar = leaf(domain=POSITIVE)
    min_validator_withdrawability_delay: Scalar = leaf(unit="epochs", domain=NON_NEGATIVE)
    proportional_slashing_multiplier: Scalar = leaf(domain=NON_NEGATIVE)
    proposer_reorg_cutoff_bps: Scalar = leaf(unit="1e-4 slot")
    proposer_reward_quotient: Scalar = leaf()
    proposer_score_boost: Scalar = leaf()
    reorg_head_weight_threshold: Scalar = leaf()
    reorg_max_epochs_since_finalization: Scalar = leaf(unit="epochs")
    reorg_parent_weight_threshold: Scalar = leaf()
    shard_committee_period: Scalar = leaf(unit="epochs")
    shuffle_round_count: int = static()
    slots_per_epoch: Scalar = leaf(unit="slots", domain=POSITIVE)
    slots_per_historical_root: int = static()
    slot_duration_ms: Scalar = leaf(unit="ms", domain=POSITIVE)
    target_committee_size: Scalar = leaf()
    whistleblower_reward_quotient: Scalar = leaf(domain=POSITIVE)

    # From Altair.
    contribution_due_bps: Scalar = leaf(default=None, unit="1e-4 slot")
    epochs_per_sync_committee_period: Scalar = leaf(default=None, unit="epochs", domain=POSITIVE)
    inactivity_score_bias: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    inactivity_score_recovery_rate: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    min_sync_committee_participants: Scalar = leaf(default=None)
    proposer_weight: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    sync_committee_size: Scalar = leaf(default=None, domain=POSITIVE)
    sync_message_due_bps: Scalar = leaf(default=None, unit="1e-4 slot")
    sync_reward_weight: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    timely_head_flag_index: int | None = static(default=None)
    timely_head_weight: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    timely_source_flag_index: int | None = static(default=None)
    timely_source_weight: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    timely_target_flag_index: int | None = static(default=None)
    timely_target_weight: Scalar = leaf(default=None, domain=NON_NEGATIVE)
    weight_denominator: Scalar = leaf(default=None, domain=POSITIVE)

    # From Capella.
    max_validators_per_withdrawals_sweep: Scalar = leaf(default=None, domain=POSITIVE)
    max_withdrawals_per_payload: Scalar = leaf(default=None, domain=POSITIVE)

    # From Deneb.
    max_blobs_per_block: Scalar = leaf(default=None)
    max_per_epoch_activation_churn_limit: Scalar = leaf(default=None, unit="validators/epoch")

    # From Electra.
    full_exit_request_amount_gwei: Scalar = leaf(default=None, unit="Gwei")
    max_consolidation_requests_per_payload: Scalar = leaf(default=None)
    max_deposit_requests_per_payload: Scalar = leaf(default=None)
    max_pending_deposits_per_epoch: Scalar = leaf(default=None, domain=POSITIVE)
    max_pending_partials_per_withdrawals_sweep: Scalar = leaf(default=None)
    max_per_epoch_activation_exit_churn_limit_gwei: Scalar = leaf(default=None, unit="Gwei", domain=POSITIVE)
    max_withdrawal_requests_per_payload: Scalar = leaf(default=None)
    min_activation_balance_gwei: Scalar = leaf(default=None, unit="Gwei")
    min_per_epoch_churn_limit_gwei: Scalar = leaf(default=None, unit="Gwei", domain=POSITIVE)
    pending_consolidations_limit: Scalar = leaf(default=None)
    pending_deposits_limit: Scalar = leaf(default=None)
    pending_partial_withdrawals_limit: Scalar = leaf(default=None)

    # From Gloas.
    builder_payment_threshold_denominator: Scalar = leaf(default=None)
    builder_payment_threshold_numerator: Scalar = leaf(default=None)
    consolidation_churn_limit_quotient: Scalar = leaf(default=None, domain=POSITIVE)
    max_builders_per_withdrawals_sweep: Scalar = leaf(default=None)
    max_per_epoch_activation_churn_limit_gwei: Scalar = leaf(default=None, unit="Gwei", domain=POSITIVE)
    min_builder_withdrawability_delay: Scalar = leaf(default=None, unit="epochs")
    payload_attestation_due_bps: Scalar = leaf(default=None, unit="1e-4 slot")
    payload_due_bps: Scalar = leaf(default=None, unit="1e-4 slot")
    ptc_size: Scalar = leaf(default=None)


_FORK_SUFFIX = re.compile("_(" + "|".join(name.upper() for name in NAMES) + ")$")
_GWEI_NAMES = frozenset(
    {
        "EFFECTIVE_BALANCE_INCREMENT",
        "EJECTION_BALANCE",
        "FULL_EXIT_REQUEST_AMOUNT",
        "MAX_EFFECTIVE_BALANCE",
        "MAX_EFFECTIVE_BALANCE_ELECTRA",
        "MAX_PER_EPOCH_ACTIVATION_CHURN_LIMIT_GLOAS",
        "MAX_PER_EPOCH_ACTIVATION_EXIT_CHURN_LIMIT",
        "MIN_ACTIVATION_BALANCE",
        "MIN_DEPOSIT_AMOUNT",
        "MIN_PER_EPOCH_CHURN_LIMIT_ELECTRA",
    }
)
# Replaced by a constant in another unit, so no longer in effect: (fork, field).
_REPLACED = (
    ("electra", "min_per_epoch_churn_limit"),
    ("electra", "max_per_epoch_activation_churn_limit"),
    ("gloas", "max_per_epoch_activation_exit_churn_limit_gwei"),
)


def field_name(constant: str) -> str:
    """Field of `Fork` that holds a constant of the specification.

    Example:
        >>> field_name("MIN_SLASHING_PENALTY_QUOTIENT_ELECTRA"), field_name("EJECTION_BALANCE")
        ('min_slashing_penalty_quotient', 'ejection_balance_gwei')
    """
    return _FORK_SUFFIX.sub("", constant).lower() + ("_gwei" if constant in _GWEI_NAMES else "")


def constants(name: str, *, preset: Preset = "mainnet") -> dict[str, int]:
    """Every named constant defined at a fork, superseded ones included, as exact integers.

    Args:
        name: "phase0", "altair", "bellatrix", "capella", "deneb", "electra", "fulu" or "gloas".
        preset: "mainnet" or "minimal".

    Raises:
        ValueError: unknown fork or preset.
    """
    if name not in NAMES:
        raise ValueError(unknown_name("fork", name, list(NAMES)))
    if preset not in ("mainnet", "minimal"):
        raise ValueError(unknown_name("preset", preset, ["mainnet", "minimal"]))
    found: dict[str, int] = {}
    for fork_name in NAMES[: NAMES.index(name) + 1]:
        found |= specification.ADDED[fork_name]
    if preset == "minimal":
        found |= {constant: value for constant, value in specification.MINIMAL.items() if constant in found}
    return found


def get(name: str, *, preset: Preset = "mainnet") -> Fork:
    """The constants in effect at a fork.

    Args:
        name: "phase0", "altair", "bellatrix", "capella", "deneb", "electra", "fulu" or "gloas".
        preset: "mainnet" or "minimal".

    Raises:
        ValueError: unknown fork or preset; the message lists the nearest names.

    Example:
        >>> get("fulu").base_reward_factor, get("fulu").min_slashing_penalty_quotient
        (64.0, 4096.0)
        >>> get("electrum")
        Traceback (most recent call last):
        ...
        ValueError: unknown fork 'electrum'; did you mean electra?
    """
    values: dict[str, int | None] = {}
    for constant, value in constants(name, preset=preset).items():
        values[field_name(constant)] = value  # in order of introduction, so the newest stays
    for since, field in _REPLACED:
        if NAMES.index(name) >= NAMES.index(since):
            values[field] = None
    numbers = data_fields(Fork)
    settings = {
        field: float(value) if field in numbers and value is not None else value for field, value in values.items()
    }
    return Fork(churn_rule=_churn_rule(name), **settings)  # type: ignore[arg-type]


def at_epoch(epoch: int) -> str:
    """Name of the fork that is active on mainnet at an epoch.

    Raises:
        ValueError: epoch is negative.

    Example:
        >>> at_epoch(364_031), at_epoch(364_032)
        ('deneb', 'electra')
    """
    if epoch < 0:
        raise ValueError(f"epoch must be at least 0, got {epoch}")
    starts = specification.MAINNET_FORK_EPOCHS
    return [name for name in NAMES if starts[name] is not None and starts[name] <= epoch][-1]  # type: ignore[operator]


def require_defined(fork: Fork, *fields: str) -> None:
    """Raise a `ValueError` that names the first of the fields that this fork does not have."""
    for field in fields:
        if getattr(fork, field) is None:
            raise ValueError(f"this fork does not define {field}; the rule that needs it exists at other forks only")


def seconds_per_epoch(fork: Fork) -> Scalar:
    """Length of an epoch in seconds (384 on mainnet)."""
    return fork.slots_per_epoch * fork.slot_duration_ms / 1000.0


def slots_per_year(fork: Fork) -> Scalar:
    """Slots in a year of 365.25 days (2,629,800 on mainnet)."""
    return SECONDS_PER_JULIAN_YEAR / (fork.slot_duration_ms / 1000.0)


def epochs_per_year(fork: Fork) -> Scalar:
    """Epochs in a year of 365.25 days (82,181.25 on mainnet).

    Example:
        >>> epochs_per_year(get("fulu"))
        82181.25
    """
    return SECONDS_PER_JULIAN_YEAR / seconds_per_epoch(fork)


def epochs_per_day(fork: Fork) -> Scalar:
    """Epochs in a day (225 on mainnet)."""
    return SECONDS_PER_DAY / seconds_per_epoch(fork)


def increment_eth(fork: Fork) -> Scalar:
    """Step of the effective balance in ETH (1)."""
    return fork.effective_balance_increment_gwei / GWEI_PER_ETH


def max_effective_balance_eth(fork: Fork, *, compounding: bool = False) -> Scalar:
    """Largest effective balance in ETH: 32, and 2,048 for compounding (0x02) credentials from Electra.

    Source: `get_max_effective_balance` (Electra).
    """
    if compounding or fork.min_activation_balance_gwei is None:
        return fork.max_effective_balance_gwei / GWEI_PER_ETH
    return fork.min_activation_balance_gwei / GWEI_PER_ETH


def inactivity_penalty_denominator(fork: Fork) -> Scalar:
    """`INACTIVITY_SCORE_BIAS * INACTIVITY_PENALTY_QUOTIENT`, by which a balance times its score is divided (Altair)."""
    require_defined(fork, "inactivity_score_bias")
    return fork.inactivity_score_bias * fork.inactivity_penalty_quotient


def hysteresis_eth(fork: Fork) -> tuple[Scalar, Scalar]:
    """How far a balance must fall below or rise above the effective balance before that follows: 0.25 and 1.25 ETH."""
    step = increment_eth(fork) / fork.hysteresis_quotient
    return step * fork.hysteresis_downward_multiplier, step * fork.hysteresis_upward_multiplier


def _churn_rule(name: str) -> ChurnRule:
    if NAMES.index(name) < NAMES.index("electra"):
        return "validators"
    return "shared" if NAMES.index(name) < NAMES.index("gloas") else "separate"
