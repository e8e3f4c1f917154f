"""What the consensus layer issues when every duty is fulfilled: the yield curve of the protocol.

Imperfect networks follow from `rewards.expected_epoch_rewards`; this is its upper bound, and the closed form to hold
it against.
"""

from __future__ import annotations

from jaxstake.core.typing import Scalar
from jaxstake.protocol.forks import Fork, epochs_per_year, increment_eth
from jaxstake.protocol.rewards import get_base_reward_per_increment


def perfect_apr(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """Consensus rewards per year and per staked ETH when every duty of the network is fulfilled.

    Equation: `BASE_REWARD_FACTOR / sqrt(total active balance in Gwei) * epochs_per_year`.

    Args:
        fork: constants, Altair or later.
        total_stake_eth: total active effective balance, ETH, > 0.

    Raises:
        ValueError: total_stake_eth is concrete and not positive, or the fork is phase 0.

    Source: Altair rewards; Edgington, Upgrading Ethereum, "Issuance".

    Example:
        >>> from jaxstake.protocol import forks
        >>> print(f"{perfect_apr(forks.get('fulu'), total_stake_eth=10e6):.4%}")
        5.2596%
    """
    per_increment = get_base_reward_per_increment(fork, total_stake_eth=total_stake_eth)
    return per_increment / increment_eth(fork) * epochs_per_year(fork)


def perfect_issuance_per_year(fork: Fork, *, total_stake_eth: Scalar) -> Scalar:
    """ETH issued per year when every duty of the network is fulfilled; proportional to sqrt(stake).

    Equation: `M b * epochs_per_year`, 166.32 sqrt(stake in ETH) on mainnet.

    Args:
        fork: constants, Altair or later.
        total_stake_eth: total active effective balance, ETH, > 0.

    Raises:
        ValueError: total_stake_eth is concrete and not positive, or the fork is phase 0.
    """
    return total_stake_eth * perfect_apr(fork, total_stake_eth=total_stake_eth)
