"""Who uses the memory: processes, what they map, budgets, and making room."""
