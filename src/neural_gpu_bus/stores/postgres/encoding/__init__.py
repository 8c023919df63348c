"""Columns to COPY BINARY bytes: pure, compiled."""
