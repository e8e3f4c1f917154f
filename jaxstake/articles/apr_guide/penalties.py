"""Chapter 3 of the APR guide: missed attestations, double signing and the inactivity leak."""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.articles.arithmetic import divide
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

LEAK_QUOTIENT = 2**25
LEAK_THRESHOLD = 4


@pytree
class MissedAttestations:
    """What `missed_attestation_penalty` returns."""

    base_penalty: Scalar = leaf(unit="ETH", meaning="for the missed attestations")
    leak_penalty: Scalar = leaf(unit="ETH (printed so)", meaning="for the time without finality")


@pytree
class Leak:
    """Columns of the table of section 3.3."""

    penalty: Scalar = leaf(unit="ETH")
    remaining: Scalar = leaf(unit="ETH")
    remaining_ratio: Scalar = leaf(unit="%")


@pytree
class LeakDistance:
    """Columns of the second table of section 3.3."""

    distance: Scalar = leaf(unit="epochs")
    days: Scalar = leaf(unit="days")


def missed_attestation_penalty(
    *,
    base_reward: Scalar,
    missed_count: Scalar,
    leakage_rate: Scalar = 0.75,
    epochs_since_finality: Scalar = 0.0,
) -> MissedAttestations:
    """Penalty for missed attestations, and for the time without finality.

    Printed: `P_miss = BaseReward * 0.75 * M`, and beyond 4 epochs without finality `Distance^2 / 2^25` with
        `Distance = epochs - 4`: the docstring's balance and rate are not in the code.

    Args:
        base_reward: base reward per epoch, ETH, >= 0.
        missed_count: `M`, attestations missed, >= 0.
        leakage_rate: the coefficient 0.75, >= 0.
        epochs_since_finality: epochs since finality, >= 0.

    Returns:
        `MissedAttestations`. The second is headed ETH and has no unit: it is a share of the balance.

    Outside: Any number is multiplied as it is; the leak is 0 up to 4 epochs, with gradient 0.

    Protocol: Missing source and target costs 40/64 of the base reward, and forgoes 54/64 of it; 3/4 was right in phase
        0. The leak's penalty is the balance times a share: 32 times what is printed for 32 ETH. The threshold of 4
        epochs is right: `jaxstake.protocol.rewards.missed_attestation_penalty`,
        `jaxstake.protocol.penalties.leak_loss`.

    Source: APR guide, section 3.1, theorem 3, `missed_attestation_penalty`.

    Example:
        >>> found = missed_attestation_penalty(base_reward=1e-5, missed_count=10, epochs_since_finality=1000)
        >>> print(f"{found.base_penalty:.6f} {found.leak_penalty:.6f}")
        0.000075 0.029564
    """
    epochs = as_float(epochs_since_finality)
    leaking = epochs > LEAK_THRESHOLD
    distance = jnp.where(leaking, epochs - LEAK_THRESHOLD, 0.0)
    return MissedAttestations(
        base_penalty=base_reward * leakage_rate * missed_count, leak_penalty=distance**2 / LEAK_QUOTIENT
    )


def relative_loss(*, penalty: Scalar, base_reward: Scalar) -> Scalar:
    """A penalty relative to the base rewards of a year.

    Printed: `relative_loss = penalty / (base_reward * 225 * 365) * 100`.

    Args:
        penalty: ETH.
        base_reward: base reward per epoch, ETH, > 0.

    Returns:
        Percent.

    Outside: NaN for no base reward, where the document's code stops with a division by zero.

    Protocol: Perfect duties earn the base reward in every epoch, so this is the right measure:
        `jaxstake.protocol.rewards.get_base_reward`.

    Source: APR guide, section 3.1, the loop below `missed_attestation_penalty`.
    """
    return divide(penalty, base_reward * 225 * 365) * 100


def leak_penalty_formula(*, effective_balance: Scalar, distance: Scalar, leakage_rate: Scalar = 0.75) -> Scalar:
    """Leak penalty, as the docstring of section 3.1 states it and no code computes it.

    Printed: `EffectiveBalance * LeakageRate * Distance^2 / 2^25`.

    Args:
        effective_balance: ETH, >= 0.
        distance: epochs, >= 0.
        leakage_rate: 0.75.

    Returns:
        ETH.

    Outside: Any number is multiplied as it is; the penalty may exceed the balance.

    Protocol: No such coefficient enters: `jaxstake.protocol.penalties.leak_loss`.

    Source: APR guide, section 3.1, docstring of `missed_attestation_penalty`.
    """
    return effective_balance * leakage_rate * distance**2 / LEAK_QUOTIENT


def double_sign_penalty(*, validator_effective_balance: Scalar, is_constructive: Scalar) -> Scalar:
    """Penalty for signing two conflicting messages.

    Printed: `EffectiveBalance * 1/32 * 1` for attestations ("destructive"), `EffectiveBalance * 1/32 * 1/4` for blocks
        ("constructive"). A third argument, `voting_equivalent`, is not used.

    Args:
        validator_effective_balance: ETH, >= 0.
        is_constructive: true for blocks.

    Returns:
        ETH.

    Outside: Any balance is divided as it is.

    Protocol: Both offences cost the same. The initial penalty is 1/128 of the balance in phase 0, 1/64 in Altair, 1/32
        from Bellatrix to Deneb and 1/4,096 from Electra; the penalty for what others lose in the same window and the
        penalties of the wait come on top: `jaxstake.protocol.slashing.slashing_loss`.

    Source: APR guide, section 3.2, `double_sign_penalty`.

    Example:
        >>> print(f"{double_sign_penalty(validator_effective_balance=32.0, is_constructive=True):.2f}")
        0.25
    """
    multiplier = jnp.where(is_constructive, 1 / 4, 1.0)
    return validator_effective_balance * (1 / 32) * multiplier


def leak_penalty(*, distance: Scalar, effective_balance: Scalar = 32.0, eta: Scalar = LEAK_QUOTIENT) -> Leak:
    """Leak penalty after a number of epochs, theorem 4.

    Printed: `L(d) = B * d^2 / eta` with `eta = 2^25`.

    Args:
        distance: `d`, epochs, >= 0.
        effective_balance: `B`, ETH, > 0.
        eta: the leak coefficient, > 0.

    Returns:
        `Leak`, ETH and percent of the balance.

    Outside: Beyond `sqrt(eta)` = 5,793 epochs the printed balance is negative (-198.02 % left after 10,000 epochs); it
        is returned as printed. NaN for no balance.

    Protocol: The first-order term of the cumulative loss `B (1 - exp(-d^2 / 2^25))` since Bellatrix, too large by a
        share of about `d^2 / 2^26`. The balance never turns negative, and the validator is ejected under 16.75 ETH,
        after some 4,686 epochs: `jaxstake.protocol.penalties.leak_loss`, `jaxstake.protocol.penalties.ejection_epochs`.

    Source: APR guide, section 3.3, theorem 4, `leakage_penalty_derivation`; appendix A.4.

    Example:
        >>> print(f"{leak_penalty(distance=5000.0).penalty:.4f}")
        23.8419
    """
    penalty = divide(effective_balance * distance**2, eta)
    remaining = effective_balance - penalty
    return Leak(penalty=penalty, remaining=remaining, remaining_ratio=divide(remaining, effective_balance) * 100)


def leak_distance(*, loss_ratio: Scalar, effective_balance: Scalar = 32.0, eta: Scalar = LEAK_QUOTIENT) -> LeakDistance:
    """Epochs after which the leak has taken a share of the balance.

    Printed: `d = sqrt(target_loss * eta / B)` with `target_loss = B * ratio`, and `days = d / 225`.

    Args:
        loss_ratio: share lost, >= 0.
        effective_balance: `B`, ETH, > 0.
        eta: the leak coefficient, > 0.

    Returns:
        `LeakDistance`, epochs and days.

    Outside: NaN for a negative ratio, as NumPy's square root, and for no balance; a ratio above 1, more than there is,
        gives a number as printed.

    Protocol: `sqrt(-2^25 ln(1 - ratio))` epochs, until the ejection at 47.7 % ends it for a balance of 32 ETH; half the
        balance is never lost: `jaxstake.protocol.penalties.leak_epochs_to_balance`.

    Source: APR guide, section 3.3, `leakage_penalty_derivation`.

    Example:
        >>> print(f"{leak_distance(loss_ratio=0.5).days:.2f} days")
        18.20 days
    """
    target_loss = effective_balance * loss_ratio
    distance = jnp.sqrt(divide(target_loss * eta, effective_balance))
    return LeakDistance(distance=distance, days=distance / 225)
