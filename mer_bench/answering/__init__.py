"""What each command does between its words and its answer."""
