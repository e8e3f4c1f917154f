"""Differentiable models of Ethereum staking economics in JAX.

The modules, from the bottom up: `core` (containers, checks, numerics), `protocol` (consensus rules as smooth
functions), `economy` (what markets add, and the APR), `analysis` (sweeps and sensitivities of any model), `data` (the
real network and real files). Importing changes no JAX setting.
"""

from jaxstake import analysis, core, data, economy, protocol

__all__ = ["analysis", "core", "data", "economy", "protocol"]
__version__ = "0.1.0"
