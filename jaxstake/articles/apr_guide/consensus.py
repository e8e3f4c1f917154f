"""Chapter 1 of the APR guide: who proposes, and what a proposer earns. The random numbers are in `randao`."""

from __future__ import annotations

from jaxstake.articles.arithmetic import divide
from jaxstake.core.typing import Scalar


def selection_probability(*, validators: Scalar) -> Scalar:
    """Chance that one validator is the proposer of one slot.

    Printed: `P(validator i is selected) = 1/n`, uniform over the active validators.

    Args:
        validators: number of active validators `n`, > 0.

    Returns:
        A fraction.

    Outside: NaN for no validators, where the document's code stops with a division by zero.

    Protocol: Right only between validators of equal effective balance. The chance is the validator's share of the
        effective balance, so that a compounding validator of 2,048 ETH proposes 64 times as often as one of 32 ETH:
        `jaxstake.protocol.duties.proposal_probability`.

    Source: APR guide, section 1.1, definition 1.

    Example:
        >>> print(f"{selection_probability(validators=500_000):.0e}")
        2e-06
    """
    return divide(1.0, validators)


def slots_per_day(*, slots_per_epoch: Scalar = 32.0, epochs_per_day: Scalar = 225.0) -> Scalar:
    """Slots in a day.

    Printed: `slots_per_day = slots_per_epoch * epochs_per_day = 32 * 225 = 7,200`.

    Args:
        slots_per_epoch: slots in an epoch, > 0.
        epochs_per_day: epochs in a day, > 0.

    Returns:
        Slots per day.

    Outside: Any number is multiplied as it is.

    Protocol: Right. A slot is 12 s, and about 1 % of slots have no block; `jaxstake.protocol.forks.slots_per_year`
        takes a year of 365.25 days where the document takes 365.

    Source: APR guide, section 1.1, `POSConsensusModel.__init__`.
    """
    return slots_per_epoch * epochs_per_day


def expected_proposals_per_day(
    *, validators: Scalar, slots_per_epoch: Scalar = 32.0, epochs_per_day: Scalar = 225.0
) -> Scalar:
    """Blocks that one validator proposes in a day, on average.

    Printed: `slots_per_day / n`, 7,200/n.

    Args:
        validators: number of active validators `n`, > 0.
        slots_per_epoch: slots in an epoch, > 0.
        epochs_per_day: epochs in a day, > 0.

    Returns:
        Proposals per day.

    Outside: NaN for no validators, where the document's code stops with a division by zero.

    Protocol: Right between validators of equal effective balance. The whole distribution, binomial, is
        `jaxstake.protocol.duties.proposal_distribution`.

    Source: APR guide, section 1.1, theorem 1, `POSConsensusModel.expected_proposals_per_day`.

    Example:
        >>> print(f"{expected_proposals_per_day(validators=500_000):.4f}")
        0.0144
    """
    return divide(slots_per_day(slots_per_epoch=slots_per_epoch, epochs_per_day=epochs_per_day), validators)


def proposer_reward_per_epoch(
    *,
    base_reward: Scalar,
    validators: Scalar = 500_000.0,
    proposer_factor: Scalar = 1 / 8,
    participation_rate: Scalar = 0.99,
) -> Scalar:
    """Proposer reward of an epoch, as the code computes it.

    Printed: `reward = base_reward * F * (attesting / n)` with `attesting = 0.99 n` and `F = 1/8`. The number of
        validators cancels; the effective balance that the function takes is turned to Gwei and not used.

    Args:
        base_reward: base reward, any unit, >= 0.
        validators: number of active validators `n`, > 0.
        proposer_factor: `F`, a fraction.
        participation_rate: share of validators that attest, a fraction.

    Returns:
        In the unit of the base reward.

    Outside: NaN for no validators, where the document's code stops with a division by zero.

    Protocol: An eighth of the base reward is right as the expectation per epoch of a validator, averaged over the many
        epochs in which it proposes nothing, and right in full participation only:
        `jaxstake.protocol.rewards.proposer_reward`.

    Source: APR guide, section 1.1, `POSConsensusModel.proposer_reward_per_epoch`.

    Example:
        >>> print(f"{proposer_reward_per_epoch(base_reward=1.0):.5f}")
        0.12375
    """
    attesting = validators * participation_rate
    return base_reward * proposer_factor * divide(attesting, validators)


def proposer_reward_formula(
    *,
    block_reward: Scalar,
    attestors: Scalar,
    base_reward: Scalar,
    total_participation: Scalar,
    proposer_factor: Scalar = 1 / 8,
) -> Scalar:
    """Proposer reward of an epoch, as the docstring states it and the code does not compute it.

    Printed: `R_proposer = B * (sum_attestors * Base_Reward / Total_Participation) * F`.

    Args:
        block_reward: `B`, "base of the block reward"; its unit is not said.
        attestors: number of valid attestations in the epoch, >= 0.
        base_reward: base reward, in the unit of the total participation.
        total_participation: total effective stake, > 0.
        proposer_factor: `F`, a fraction.

    Returns:
        In the unit of `B`.

    Outside: NaN for no participation.

    Protocol: There is no block reward `B` after the merge. The proposer earns 8/56 of the rewards of what it includes:
        `jaxstake.protocol.rewards.proposer_reward`.

    Source: APR guide, section 1.1, docstring of `POSConsensusModel.proposer_reward_per_epoch`.
    """
    return block_reward * divide(attestors * base_reward, total_participation) * proposer_factor
