"""What a worker said, checked against the model, the plan, itself and the agent's own clock."""
