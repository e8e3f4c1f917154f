"""Floor 2: what markets add to the protocol, and the scenario that joins both into one APR."""

from jaxstake.economy import apr, base_fee_link, block_value, fees, memory, risk, scenario

__all__ = ["apr", "base_fee_link", "block_value", "fees", "memory", "risk", "scenario"]
