"""The constants of a fork as exact integers, static: they are compiled into the code that uses them.

`protocol.forks.Fork` holds the same constants as differentiable leaves. Here they fix array lengths and divisors, a
division by a constant costs a multiplication, and two states of one fork share one compilation.
"""

from __future__ import annotations

import dataclasses

from jaxstake.protocol import forks

FORKS = forks.NAMES[1:]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """Constants in effect at one fork and preset, hashable, the first argument of every function of the engine.

    Names are those of `protocol.forks.Fork`; amounts in Gwei end in `_gwei`, times are epochs or slots. A constant
    that the fork does not have is zero, and no rule of that fork reads it.
    """

    churn_rule: forks.ChurnRule
    """How the queues are limited: "validators" (to Deneb), "shared" (Electra, Fulu), "separate" (Gloas)."""
    waits_for_bridge: bool
    """Whether deposit requests wait until all legacy deposits are applied (Electra only)."""
    target_at_any_delay: bool
    """Whether a correct target counts however late it is included (from Deneb)."""
    has_withdrawals: bool
    """Whether blocks pay withdrawals (from Capella)."""

    base_reward_factor: int
    effective_balance_increment_gwei: int
    ejection_balance_gwei: int
    epochs_per_slashings_vector: int
    epochs_per_sync_committee_period: int
    hysteresis_downward_multiplier: int
    hysteresis_quotient: int
    hysteresis_upward_multiplier: int
    inactivity_penalty_quotient: int
    inactivity_score_bias: int
    inactivity_score_recovery_rate: int
    max_effective_balance_gwei: int
    max_seed_lookahead: int
    min_attestation_inclusion_delay: int
    min_epochs_to_inactivity_penalty: int
    min_per_epoch_churn_limit: int
    min_slashing_penalty_quotient: int
    min_validator_withdrawability_delay: int
    proportional_slashing_multiplier: int
    proposer_weight: int
    shard_committee_period: int
    slots_per_epoch: int
    sync_committee_size: int
    sync_reward_weight: int
    timely_head_weight: int
    timely_source_weight: int
    timely_target_weight: int
    validator_churn_limit_quotient: int
    weight_denominator: int
    whistleblower_reward_quotient: int

    # From Capella.
    max_validators_per_withdrawals_sweep: int = 0
    max_withdrawals_per_payload: int = 0

    # From Deneb.
    max_per_epoch_activation_churn_limit: int = 0

    # From Electra.
    churn_limit_quotient: int = 0
    max_pending_deposits_per_epoch: int = 0
    max_pending_partials_per_withdrawals_sweep: int = 0
    max_per_epoch_activation_exit_churn_limit_gwei: int = 0
    min_activation_balance_gwei: int = 0
    min_per_epoch_churn_limit_gwei: int = 0

    # From Gloas.
    builder_payment_threshold_denominator: int = 0
    builder_payment_threshold_numerator: int = 0
    consolidation_churn_limit_quotient: int = 0
    max_builders_per_withdrawals_sweep: int = 0
    max_per_epoch_activation_churn_limit_gwei: int = 0


def get(name: str, *, preset: forks.Preset = "mainnet") -> Rules:
    """The rules of a fork.

    Args:
        name: "altair", "bellatrix", "capella", "deneb", "electra", "fulu" or "gloas".
        preset: "mainnet" or "minimal".

    Raises:
        ValueError: unknown fork or preset, or phase 0, whose rewards work by other rules.

    Example:
        >>> get("fulu").effective_balance_increment_gwei, get("fulu", preset="minimal").slots_per_epoch
        (1000000000, 8)
        >>> get("phase0")
        Traceback (most recent call last):
        ...
        ValueError: the exact engine starts at altair, got phase0
    """
    named = forks.constants(name, preset=preset)
    if name not in FORKS:
        raise ValueError(f"the exact engine starts at {FORKS[0]}, got {name}")
    values = {forks.field_name(constant): value for constant, value in named.items()}  # the newest stays
    values["validator_churn_limit_quotient"] = named["CHURN_LIMIT_QUOTIENT"]
    since = FORKS.index(name)
    own = {field.name for field in dataclasses.fields(Rules)}
    return Rules(
        churn_rule=forks.get(name, preset=preset).churn_rule,
        waits_for_bridge=name == "electra",
        target_at_any_delay=since >= FORKS.index("deneb"),
        has_withdrawals=since >= FORKS.index("capella"),
        **{field: value for field, value in values.items() if field in own},
    )


def has_balance_queues(rules: Rules) -> bool:
    """Whether entry and exit are limited by balance, through pending deposits and consolidations (from Electra)."""
    return rules.churn_rule != "validators"


def has_builders(rules: Rules) -> bool:
    """Whether blocks are bought from builders in the protocol (from Gloas)."""
    return rules.churn_rule == "separate"


def participation_flag_weights(rules: Rules) -> tuple[int, int, int]:
    """`PARTICIPATION_FLAG_WEIGHTS`: source, target, head (Altair).

    Example:
        >>> participation_flag_weights(get("altair"))
        (14, 26, 14)
    """
    return rules.timely_source_weight, rules.timely_target_weight, rules.timely_head_weight
