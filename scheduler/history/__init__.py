"""What nights add up to: where a cell stepped, what it can see, and what is news tonight."""
