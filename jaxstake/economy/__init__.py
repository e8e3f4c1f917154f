"""Floor 2: what markets add to the protocol, and the scenario that joins both into one APR."""
