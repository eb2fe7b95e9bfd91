"""What is put on record: scores, provenance, and MLflow behind one door."""
