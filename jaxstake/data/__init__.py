"""Edge: dated snapshots of the real network, and readers for files of payments and scenarios."""
