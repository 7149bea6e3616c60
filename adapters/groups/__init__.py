"""One task on several devices of a node: each process of a group, and what they say to another."""
