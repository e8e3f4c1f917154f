"""The micro-staking analysis as printed: security, liquidity, simulation, suggestions, chapter by chapter."""

from jaxstake.articles.microstaking_analysis.liquidity import (
    liquidity_efficiency,
    liquidity_indicator,
    price_impact,
    slippage,
    slippage_from_liquidity,
    withdrawal_pressure,
)
from jaxstake.articles.microstaking_analysis.pool import (
    amount_out,
    constant_product,
    constant_product_depth,
    constant_product_liquidity,
    depth,
)
from jaxstake.articles.microstaking_analysis.security import (
    attack_cost,
    byzantine_margin,
    byzantine_threshold,
    economic_security,
    entropy,
    is_tolerated,
    max_validators,
    system_security,
    validator_quality,
    validator_quality_log_density,
)
from jaxstake.articles.microstaking_analysis.simulation import (
    KEY_FINDINGS,
    MAJORITY,
    Finding,
    Simulation,
    simulate_from_draws,
    simulate_security_liquidity,
    simulate_stakes,
)
from jaxstake.articles.microstaking_analysis.suggestions import (
    dynamic_minimum_stake,
    queue_priority,
    total_liquidity,
    validator_score,
)

__all__ = [
    "KEY_FINDINGS",
    "MAJORITY",
    "Finding",
    "Simulation",
    "amount_out",
    "attack_cost",
    "byzantine_margin",
    "byzantine_threshold",
    "constant_product",
    "constant_product_depth",
    "constant_product_liquidity",
    "depth",
    "dynamic_minimum_stake",
    "economic_security",
    "entropy",
    "is_tolerated",
    "liquidity_efficiency",
    "liquidity_indicator",
    "max_validators",
    "price_impact",
    "queue_priority",
    "simulate_from_draws",
    "simulate_security_liquidity",
    "simulate_stakes",
    "slippage",
    "slippage_from_liquidity",
    "system_security",
    "total_liquidity",
    "validator_quality",
    "validator_quality_log_density",
    "validator_score",
    "withdrawal_pressure",
]
