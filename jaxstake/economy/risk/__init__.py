"""Luck in full: the distribution of an operator's yearly return, by transform and by sampling, and what it says.

`income_law` states the law, `moments` its first three, `return_distribution` all of it on a grid with bounds of the
error, `simulate_years` draws from it. Quantiles, tail means and certainty equivalents are functions of the grid.
"""

from jaxstake.economy.risk.distribution import (
    ReturnDistribution,
    distribution,
    net_of_costs,
    return_distribution,
    scaled,
)
from jaxstake.economy.risk.income import (
    IncomeLaw,
    execution_only,
    income_law,
    mean_less_deviations,
    moments,
    return_moments,
    risk_adjusted_rate,
    sharpe_ratio,
)
from jaxstake.economy.risk.monte_carlo import (
    Estimate,
    estimate_lower_tail_mean,
    estimate_mean,
    estimate_quantile,
    estimate_variance,
    simulate,
    simulate_years,
)
from jaxstake.economy.risk.pools import POOL_SIZES, chance_of_more, median_by_pool_size, smoothing_pool_wins
from jaxstake.economy.risk.quantities import (
    cdf,
    cdf_bounds,
    certainty_equivalent,
    conditional_value_at_risk,
    density,
    expected_return,
    lower_tail_mean,
    quantile,
    quantile_bounds,
    upper_tail_mean,
    value_at_risk,
)
from jaxstake.economy.risk.remembered import remembered_returns
from jaxstake.economy.risk.sweeps import sweep_scenarios

__all__ = [
    "POOL_SIZES",
    "Estimate",
    "IncomeLaw",
    "ReturnDistribution",
    "cdf",
    "cdf_bounds",
    "certainty_equivalent",
    "chance_of_more",
    "conditional_value_at_risk",
    "density",
    "distribution",
    "estimate_lower_tail_mean",
    "estimate_mean",
    "estimate_quantile",
    "estimate_variance",
    "execution_only",
    "expected_return",
    "income_law",
    "lower_tail_mean",
    "mean_less_deviations",
    "median_by_pool_size",
    "moments",
    "net_of_costs",
    "quantile",
    "quantile_bounds",
    "remembered_returns",
    "return_distribution",
    "return_moments",
    "risk_adjusted_rate",
    "scaled",
    "sharpe_ratio",
    "simulate",
    "simulate_years",
    "smoothing_pool_wins",
    "sweep_scenarios",
    "upper_tail_mean",
    "value_at_risk",
]
