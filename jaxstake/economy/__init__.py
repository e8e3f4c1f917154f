"""Floor 2: what markets add to the protocol, and the scenario that joins both into one APR."""

from jaxstake.economy import apr, block_value, scenario

__all__ = ["apr", "block_value", "scenario"]
