"""One loop, one fold, one pass over the folds, and what they cost."""
