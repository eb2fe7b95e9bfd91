"""Can printed numbers be true? Exact searches over confusion tables."""
