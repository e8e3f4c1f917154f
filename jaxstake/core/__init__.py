"""Floor 0: containers, checks, numerics, units and solvers. Knows no Ethereum."""

from jaxstake.core import checks, domain, leaves, numerics, pytree, solve, typing, units

__all__ = ["checks", "domain", "leaves", "numerics", "pytree", "solve", "typing", "units"]
