"""Chapter IV of the micro-staking analysis: the rules that it suggests."""

from __future__ import annotations

from collections.abc import Callable

from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar


def dynamic_minimum_stake(
    adjustment: Callable[[Scalar, Scalar], Scalar], *, initial: Scalar, validators: Scalar, volatility: Scalar
) -> Scalar:
    """Minimum stake that follows the number of validators and the volatility.

    Printed: `v_min(t) = v_0 * f(n_t, sigma_t)`. The document never says what `f` is, nor in which direction it moves.

    Args:
        adjustment: `f`, from the number of validators and the volatility, in this order, to a factor.
        initial: initial minimum stake `v_0`, ETH, > 0.
        validators: number of validators `n_t`, > 0.
        volatility: volatility `sigma_t`, of the price by section 2.1, a fraction, >= 0.

    Returns:
        ETH.

    Outside: What `adjustment` says.

    Protocol: The minimum is a constant, `min_activation_balance_gwei` of `jaxstake.protocol.forks.Fork`, 32 ETH. What
        follows the size of the validator set is the reward (`jaxstake.protocol.rewards.get_base_reward_per_increment`)
        and the churn limit (`jaxstake.protocol.queues.activation_churn_limit`). No rule sees a market price.

    Source: Micro-staking analysis, section 4.1.

    Example:
        >>> def factor(validators, volatility):
        ...     return (1_000_000 / validators) * (1.0 + volatility)
        >>> print(f"{dynamic_minimum_stake(factor, initial=32.0, validators=4e6, volatility=0.5):.1f}")
        12.0
    """
    return as_float(initial) * adjustment(validators, volatility)


def validator_score(
    *, performance: Scalar, tenure: Scalar, reliability: Scalar, alpha: Scalar, beta: Scalar, gamma: Scalar
) -> Scalar:
    """Weighted sum of three marks of a validator.

    Printed: `Score_i = alpha * P_i + beta * T_i + gamma * R_i`. The document does not say what `P_i`, `T_i` and `R_i`
        are; performance, tenure and reliability is one reading. `P` is also its probability and its price, `R` its
        reward of an attack.

    Args:
        performance: `P_i`, no unit or range printed.
        tenure: `T_i`, no unit or range printed.
        reliability: `R_i`, no unit or range printed.
        alpha: weight of `P_i`; the document does not make the weights positive, nor add up to 1.
        beta: weight of `T_i`.
        gamma: weight of `R_i`.

    Returns:
        A score, in the unit of weight times mark.

    Outside: The sum is defined for all numbers.

    Protocol: There are no scores of reputation. Each epoch pays for the duties of that epoch alone
        (`jaxstake.protocol.rewards.expected_epoch_rewards`); the one memory is the inactivity score
        (`jaxstake.protocol.penalties.inactivity_score_drift`), which counts missed votes and costs only.

    Source: Micro-staking analysis, section 4.1.

    Example:
        >>> score = validator_score(performance=1.0, tenure=0.5, reliability=0.9, alpha=0.5, beta=0.2, gamma=0.3)
        >>> print(f"{score:.2f}")
        0.87
    """
    weighted = as_float(alpha) * as_float(performance) + as_float(beta) * as_float(tenure)
    return weighted + as_float(gamma) * as_float(reliability)


def total_liquidity(*, base: Scalar, dynamic: Scalar) -> Scalar:
    """Liquidity of a pool of two layers.

    Printed: `L_total = L_base + L_dynamic`.

    Args:
        base: liquidity of the base layer `L_base`, any unit, >= 0.
        dynamic: liquidity of the dynamic layer `L_dynamic`, the same unit, >= 0.

    Returns:
        Liquidity, in that unit.

    Outside: The sum is defined for all numbers.

    Protocol: There are no pools. The one layer through which stake leaves is the exit queue
        (`jaxstake.protocol.queues.exit_churn_limit`). The sum is right for what depth at one price adds up to, and
        wrong for section 2.1's indicator, whose price and volatility both layers share. With checks and gradients:
        `jaxstake.microstaking.liquidity.total_liquidity`.

    Source: Micro-staking analysis, section 4.2.

    Example:
        >>> float(total_liquidity(base=100.0, dynamic=50.0))
        150.0
    """
    return as_float(base) + as_float(dynamic)


def queue_priority(
    priority: Callable[[Scalar, Scalar, Scalar], Scalar], *, amount: Scalar, waiting_time: Scalar, score: Scalar
) -> Scalar:
    """Priority of one withdrawal in the queue.

    Printed: `Q_priority = g(w_i, t_i, s_i)`. The document never says what `g` is, nor what `t_i` and `s_i` are: time
        waited and the score of section 4.1 is one reading.

    Args:
        priority: `g`, from amount, waiting time and score, in this order, to a priority.
        amount: amount of the withdrawal `w_i`, ETH, >= 0.
        waiting_time: time waited so far `t_i`, any unit of time, >= 0.
        score: score of the validator `s_i`.

    Returns:
        A priority, as `priority` returns it.

    Outside: What `priority` says.

    Protocol: There are no priorities. Exits leave in the order of their requests, under the churn limit
        (`jaxstake.protocol.queues.exit_epochs`), and the sweep of withdrawals goes round by validator index
        (`jaxstake.protocol.queues.withdrawal_sweep_epochs`).

    Source: Micro-staking analysis, section 4.2.

    Example:
        >>> def oldest_and_smallest_first(amount, waiting_time, score):
        ...     return score * waiting_time / amount
        >>> float(queue_priority(oldest_and_smallest_first, amount=32.0, waiting_time=8.0, score=2.0))
        0.5
    """
    return priority(amount, waiting_time, score)
