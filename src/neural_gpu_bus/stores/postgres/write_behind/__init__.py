"""Rows that are on the local disk when the caller goes on, and in PostgreSQL soon after."""
