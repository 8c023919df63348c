"""What a statement's result depends on, and costs, as the server says."""
