"""Edge: the page that `jaxstake report` writes, and the comparison of the documents with the protocol."""
