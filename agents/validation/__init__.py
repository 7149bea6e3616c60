"""Validation of a worker's events against the model, the plan, each other and the agent's clock."""
