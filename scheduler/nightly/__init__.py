"""What a night is told as: confirmed by measuring again, explained, in words and as JUnit XML."""
