"""What every stage shares. Nothing in here imports torch."""
