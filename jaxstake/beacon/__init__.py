"""Floor 1: the consensus rules as integers, bit for bit with the executable specification, Altair to Gloas.

Functions bear the specification's names, are pure, take the rules of a fork (`rules.get`) and a state, and return the
next state. They need 64-bit integers: `jax.config.update("jax_enable_x64", True)`. The same rules as smooth functions
are in `protocol`.
"""

from jaxstake.beacon import (
    accessors,
    advance,
    arrays,
    behaviour,
    block,
    churn,
    draws,
    duties,
    epoch,
    finality,
    integers,
    operations,
    pending,
    quantiles,
    queues,
    quiet,
    records,
    registry,
    rewards,
    rules,
    simulation,
    state,
    sweep,
    withdrawals,
)

__all__ = [
    "accessors",
    "advance",
    "arrays",
    "behaviour",
    "block",
    "churn",
    "draws",
    "duties",
    "epoch",
    "finality",
    "integers",
    "operations",
    "pending",
    "quantiles",
    "queues",
    "quiet",
    "records",
    "registry",
    "rewards",
    "rules",
    "simulation",
    "state",
    "sweep",
    "withdrawals",
]
