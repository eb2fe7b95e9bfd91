"""The leaderboard and its pages, drawn from records alone."""
