"""Floor 0: containers, checks, numerics, units, solvers and SHA-256. Knows no Ethereum."""

from jaxstake.core import checks, domain, leaves, numerics, order_statistics, pytree, sha256, solve, typing, units

__all__ = ["checks", "domain", "leaves", "numerics", "order_statistics", "pytree", "sha256", "solve", "typing", "units"]
