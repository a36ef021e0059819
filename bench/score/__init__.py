"""Times, profiles and leaderboards, from records alone. No torch."""
