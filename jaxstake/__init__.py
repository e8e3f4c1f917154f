"""Differentiable models of Ethereum staking economics in JAX.

The modules, from the bottom up: `core` (containers, checks, numerics), `protocol` (consensus rules as smooth
functions), `beacon` (the same rules as exact integers), `economy` (what markets add, and the APR), `microstaking` (a
network of small stakers), `analysis` (sweeps, sensitivities and calibration of any model), `data` (the real network and
real files). Importing changes no JAX setting.
"""

from jaxstake import analysis, beacon, core, data, economy, microstaking, protocol

__all__ = ["analysis", "beacon", "core", "data", "economy", "microstaking", "protocol"]
__version__ = "0.1.0"
