"""Floor 1: what the consensus layer fixes, as smooth functions of floats, differentiable in everything."""

from jaxstake.protocol import (
    duties,
    forks,
    issuance,
    penalties,
    proposal_runs,
    queues,
    randao,
    rewards,
    slashing,
    specification,
)

__all__ = [
    "duties",
    "forks",
    "issuance",
    "penalties",
    "proposal_runs",
    "queues",
    "randao",
    "rewards",
    "slashing",
    "specification",
]
