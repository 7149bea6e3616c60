"""The search for the largest batch size that fits a node, for the batch size `auto`."""
