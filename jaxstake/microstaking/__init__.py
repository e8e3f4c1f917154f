"""Floor 2: the micro-staking system."""

from jaxstake.microstaking import (
    assessment,
    attack_cost,
    binomial_tail,
    common_shock,
    concentration,
    liquidity,
    pools,
    security,
)

__all__ = [
    "assessment",
    "attack_cost",
    "binomial_tail",
    "common_shock",
    "concentration",
    "liquidity",
    "pools",
    "security",
]
