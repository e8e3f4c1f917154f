"""Floor 0: containers, checks, numerics, units and solvers. Knows no Ethereum."""
