"""Differentiable models of Ethereum staking economics in JAX."""

__version__ = "0.1.0"
