"""The value of one block to its proposer (MEV and tips) as a distribution, ETH.

A family is a container of parameters, so that it sweeps, differentiates and calibrates like any scenario: `LogNormal`,
`LogNormalMixture`, `SkewLogNormal`, `LogNormalPareto` (a heavy tail), `Empirical`, and `WithZeros` around any of them.
The functions are the interface: each dispatches on the family, and a new family registers its own
(`@mean.register`). `value` and `level` may be scalars or arrays, the parameters are scalars; vmap for more.
"""

from jaxstake.economy.block_value.empirical import Empirical, empirical_of
from jaxstake.economy.block_value.interface import (
    cdf,
    limited_mean,
    log_cdf,
    log_density,
    log_survival,
    mean,
    quantile,
    sample,
    survival,
    tail_mean,
    third_central_moment,
    variance,
)
from jaxstake.economy.block_value.likelihood import Censoring, log_likelihood, negative_log_likelihood
from jaxstake.economy.block_value.log_normal import LogNormal, log_normal_from_median
from jaxstake.economy.block_value.log_normal_fit import LogNormalFit, fit_log_normal, ks_distance
from jaxstake.economy.block_value.log_normal_mixture import LogNormalMixture
from jaxstake.economy.block_value.log_normal_pareto import LogNormalPareto
from jaxstake.economy.block_value.skew_log_normal import SkewLogNormal
from jaxstake.economy.block_value.with_zeros import WithZeros

__all__ = [
    "Censoring",
    "Empirical",
    "LogNormal",
    "LogNormalFit",
    "LogNormalMixture",
    "LogNormalPareto",
    "SkewLogNormal",
    "WithZeros",
    "cdf",
    "empirical_of",
    "fit_log_normal",
    "ks_distance",
    "limited_mean",
    "log_cdf",
    "log_density",
    "log_likelihood",
    "log_normal_from_median",
    "log_survival",
    "mean",
    "negative_log_likelihood",
    "quantile",
    "sample",
    "survival",
    "tail_mean",
    "third_central_moment",
    "variance",
]
