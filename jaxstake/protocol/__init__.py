"""Floor 1: what the consensus layer fixes, as smooth functions of floats, differentiable in everything."""
