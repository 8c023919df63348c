"""Live tables without logical replication: PostgreSQL is asked again and again, and says less."""
