"""What every method must be and do, and the leak canary."""
