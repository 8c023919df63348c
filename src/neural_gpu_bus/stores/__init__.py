"""Layer 3, direct stores: PostgreSQL tables and Redis values to columns and back."""
