"""Chapter I of the micro-staking analysis: what the document says makes a validator set secure."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxstake.articles.arithmetic import divide
from jaxstake.core.numerics import as_float, keep_where, safe_log
from jaxstake.core.typing import Scalar


def system_security(*, attack_probability: Scalar) -> Scalar:
    """Security of the system: the chance that no attack succeeds.

    Printed: `S(n, v) = 1 - P(Attack | n, v)`, with `n` validators of stake `v` each. The document never says how
        `P(Attack)` depends on `n` and `v`.

    Args:
        attack_probability: chance of a successful attack `P(Attack)`, a fraction in [0, 1].

    Returns:
        A fraction.

    Outside: The line goes on: negative for a probability above 1, above 1 for a negative one.

    Protocol: There is no such probability. Ethereum's guarantees are thresholds of stake (a third offline stops
        finality, a third slashable is what two conflicting finalised checkpoints cost), and the standard measure is
        what crossing them costs: `jaxstake.protocol.slashing.slashing_loss` and
        `jaxstake.protocol.penalties.leak_burnt_share`. With checks and gradients:
        `jaxstake.microstaking.assessment.assess`.

    Source: Micro-staking analysis, section 1.1.

    Example:
        >>> print(f"{system_security(attack_probability=0.25):.2f}")
        0.75
    """
    return 1.0 - as_float(attack_probability)


def is_tolerated(*, malicious: Scalar, validators: Scalar) -> jax.Array:
    """Whether so many malicious nodes are below the threshold of Byzantine fault tolerance.

    Printed: `f / n < 1/3`. A third itself is not tolerated.

    Args:
        malicious: number of malicious nodes `f`, >= 0.
        validators: number of all nodes `n`, > 0.

    Returns:
        A boolean, without gradient; `byzantine_margin` is the smooth companion.

    Outside: False for no validators, where the document's division would stop: a boolean cannot be NaN.

    Protocol: Ethereum counts effective balance, not nodes: `f` and `n` must be ETH, and the two agree only between
        validators of equal balance. Finality also returns by itself after a violation, because the leak burns the stake
        of who is offline (`jaxstake.protocol.penalties.epochs_to_finality`). With checks and gradients:
        `jaxstake.microstaking.security.is_byzantine_safe`.

    Source: Micro-staking analysis, section 1.2.1.

    Example:
        >>> bool(is_tolerated(malicious=33, validators=100)), bool(is_tolerated(malicious=1, validators=3))
        (True, False)
    """
    return divide(malicious, validators) < 1.0 / 3.0


def byzantine_margin(*, malicious: Scalar, validators: Scalar) -> Scalar:
    """How far the share of malicious nodes is below a third.

    Printed: `f / n < 1/3`; this is `1/3 - f / n`, positive where the condition holds.

    Args:
        malicious: number of malicious nodes `f`, >= 0.
        validators: number of all nodes `n`, > 0.

    Returns:
        A fraction of the nodes, at most 1/3; negative where the threshold is broken.

    Outside: NaN for no validators, where the document's division would stop.

    Protocol: As for `is_tolerated`: a share of stake, not of nodes. What a margin below zero costs is
        `jaxstake.protocol.penalties.leak_burnt_share`. With checks and gradients:
        `jaxstake.microstaking.security.byzantine_margin`.

    Source: Micro-staking analysis, section 1.2.1.

    Example:
        >>> print(f"{byzantine_margin(malicious=20, validators=100):.4f}")
        0.1333
    """
    return 1.0 / 3.0 - divide(malicious, validators)


def max_validators(*, total_stake: Scalar, min_stake: Scalar) -> Scalar:
    """Largest number of validators that a total stake can fund.

    Printed: `max_validators = total_stake / min_stake`. The printed function computes it and never uses it. Section
        1.3's `n_micro >> n_traditional` is this quotient at two minimum stakes.

    Args:
        total_stake: total stake, ETH, >= 0.
        min_stake: minimum stake of a validator, ETH, > 0.

    Returns:
        A number of validators, not rounded to a whole one.

    Outside: NaN for a minimum stake of 0, where the document's code stops with a division by zero.

    Protocol: An upper bound, as since Electra a validator may hold up to 2,048 ETH
        (`jaxstake.protocol.forks.max_effective_balance_eth`). Validators are keys: one operator can run any number.

    Source: Micro-staking analysis, section 1.2.1, `calculate_byzantine_threshold`.

    Example:
        >>> float(max_validators(total_stake=32e6, min_stake=32.0))
        1000000.0
    """
    return divide(total_stake, min_stake)


def byzantine_threshold(*, total_stake: Scalar, min_stake: Scalar) -> Scalar:
    """Number of validators whose stake is a third of the total.

    Printed: `required_stake = total_stake / 3`, `return required_stake / min_stake`; `max_validators` is computed and
        never used.

    Args:
        total_stake: total stake, ETH, >= 0.
        min_stake: minimum stake of a validator, ETH, > 0.

    Returns:
        A number of validators, not rounded to a whole one.

    Outside: NaN for a minimum stake of 0, where the document's code stops with a division by zero.

    Protocol: A count, not a threshold: a third of the stake is needed whatever the minimum, and an attacker with that
        ETH funds any number of validators. Halving the minimum doubles this number and leaves the attack as cheap as it
        was. What a third of the stake can do, and what it loses, is `jaxstake.protocol.penalties.epochs_to_finality`
        and `jaxstake.protocol.slashing.correlation_penalty`.

    Source: Micro-staking analysis, section 1.2.1, `calculate_byzantine_threshold`.

    Example:
        >>> print(f"{byzantine_threshold(total_stake=32e6, min_stake=32.0):.1f}")
        333333.3
        >>> print(f"{byzantine_threshold(total_stake=32e6, min_stake=1.0) / 1e6:.2f} million")
        10.67 million
    """
    return divide(as_float(total_stake) / 3.0, min_stake)


def economic_security(*, attack_cost: Scalar, success_probability: Scalar, attack_reward: Scalar) -> Scalar:
    """Cost of an attack over its expected reward.

    Printed: `E_s = C_attack / (P_success * R_attack)`.

    Args:
        attack_cost: cost of the attack `C_attack`, any currency, >= 0.
        success_probability: chance that the attack succeeds `P_success`, a fraction in (0, 1].
        attack_reward: reward of a successful attack `R_attack`, the currency of the cost, > 0.

    Returns:
        A number; above 1 an attack loses on average.

    Outside: NaN where success is impossible or brings nothing, where the document's division would stop.

    Protocol: There is no such quantity; it is the cost of corruption over the profit from it. The protocol knows the
        cost: slashing (`jaxstake.protocol.slashing.slashing_loss`, everything from a third of the stake on) for safety,
        the leak (`jaxstake.protocol.penalties.leak_loss`) for liveness. The reward is outside of it. With checks and
        gradients: `jaxstake.microstaking.attack_cost.economic_security`.

    Source: Micro-staking analysis, section 1.2.2.

    Example:
        >>> float(economic_security(attack_cost=10.0, success_probability=0.5, attack_reward=8.0))
        2.5
    """
    return divide(attack_cost, as_float(success_probability) * as_float(attack_reward))


def attack_cost(*, validators: Scalar, cost_per_validator: Scalar) -> Scalar:
    """Cost of an attack in proportion to the number of validators.

    Printed: `C_attack ∝ n`, without the constant of proportionality, which is `cost_per_validator` here.

    Args:
        validators: number of validators `n`, >= 0.
        cost_per_validator: constant of proportionality, currency per validator, >= 0.

    Returns:
        A cost, in the currency of `cost_per_validator`.

    Outside: The line goes on through 0 to negative numbers.

    Protocol: Wrong for a lower minimum stake. The cost is in proportion to the stake, not to the validators
        (`jaxstake.protocol.penalties.leak_burnt_share`): the same stake in four times as many costs the same. With
        checks and gradients: `jaxstake.microstaking.attack_cost.attack_cost`.

    Source: Micro-staking analysis, section 1.3.

    Example:
        >>> float(attack_cost(validators=1_000, cost_per_validator=32.0))
        32000.0
    """
    return as_float(validators) * as_float(cost_per_validator)


def validator_quality(
    *, key: jax.Array, mean: Scalar, standard_deviation: Scalar, shape: tuple[int, ...] = ()
) -> jax.Array:
    """Draws of the quality of validators.

    Printed: `Q_validator ~ N(mu_Q, sigma_Q^2)`.

    Args:
        key: random key, new style.
        mean: mean quality `mu_Q`; the document gives quality no unit and no range.
        standard_deviation: `sigma_Q`, the unit of quality, >= 0.
        shape: shape of the result; none is one draw.

    Returns:
        Draws of that shape, in the unit of quality.

    Outside: All draws are the mean for a standard deviation of 0; a negative one has the law of its absolute value, as
        only its square is printed.

    Protocol: There is no quality. What the protocol sees is whether duties are done in time, as fractions, which are
        never normal: `jaxstake.protocol.rewards.Performance`. No formula ties quality to the minimum stake. With checks
        and gradients: `jaxstake.microstaking.security.operator_quality`.

    Source: Micro-staking analysis, section 1.3.

    Example:
        >>> print(f"{validator_quality(key=jax.random.key(0), mean=0.9, standard_deviation=0.0):.1f}")
        0.9
    """
    mean, standard_deviation = as_float(mean), as_float(standard_deviation)
    return mean + standard_deviation * jax.random.normal(key, shape, jnp.result_type(mean, standard_deviation))


def validator_quality_log_density(*, quality: Scalar, mean: Scalar, standard_deviation: Scalar) -> Scalar:
    """Natural logarithm of the density of the quality of a validator.

    Printed: `Q_validator ~ N(mu_Q, sigma_Q^2)`, so `-((Q - mu)/sigma)^2 / 2 - ln(sigma sqrt(2 pi))`.

    Args:
        quality: quality `Q` of one validator; the document gives it no unit and no range.
        mean: mean quality `mu_Q`.
        standard_deviation: `sigma_Q`, the unit of quality, > 0.

    Returns:
        Logarithm of a density per unit of quality.

    Outside: NaN for a standard deviation of 0, which has no density; a negative one counts as its absolute value.

    Protocol: As for `validator_quality`: performance is a set of chances, `jaxstake.protocol.rewards.Performance`.

    Source: Micro-staking analysis, section 1.3.

    Example:
        >>> print(f"{validator_quality_log_density(quality=0.0, mean=0.0, standard_deviation=1.0):.4f}")
        -0.9189
    """
    spread = as_float(standard_deviation)
    point = spread == 0
    spread = jnp.where(point, 1.0, spread)
    distance = (as_float(quality) - as_float(mean)) / spread
    log_density = -0.5 * distance**2 - jnp.log(jnp.abs(spread)) - 0.5 * math.log(2.0 * math.pi)
    return keep_where(~point, log_density, otherwise=jnp.nan)


def entropy(*, shares: jax.Array) -> Scalar:
    """Shannon entropy of the shares of the stake.

    Printed: `H = -sum_{i=1}^n p_i log2(p_i)`, under the name of centralisation risk.

    Args:
        shares: [V] share of the stake of each validator or operator, fractions >= 0; the formula does not make them
            add up to 1.

    Returns:
        Bits: 0 where one holds everything, `log2(n)` where `n` hold equal shares.

    Outside: A share of 0 adds nothing, with gradient 0 (the true one is infinite). NaN for a negative share, which has
        no logarithm.

    Protocol: The name is upside down: a high entropy is a low centralisation (section 3.2 counts its rise as a gain).
        The protocol has no such quantity and sees only keys, whose shares say nothing about who holds them. The
        standard is to group by operator first, and then the Herfindahl-Hirschman index (the sum of squares) or the
        number of operators that together pass a third; what a group that large can do is
        `jaxstake.protocol.penalties.epochs_to_finality`. With checks and gradients:
        `jaxstake.microstaking.concentration.herfindahl` and `jaxstake.microstaking.concentration.nakamoto`.

    Source: Micro-staking analysis, section 1.3.

    Example:
        >>> print(f"{entropy(shares=jnp.array([0.5, 0.25, 0.25, 0.0])):.2f}")
        1.50
    """
    shares = as_float(shares)
    bits = -jnp.sum(shares * safe_log(shares)) / math.log(2.0)
    return keep_where(jnp.all(shares >= 0), bits, otherwise=jnp.nan)
