"""Edge: the figures and the self-contained page that `jaxstake report` writes."""
