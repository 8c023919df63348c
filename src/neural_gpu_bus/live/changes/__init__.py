"""Which tables were changed, told before anybody can see it: what ``freshness="live"`` asks."""
