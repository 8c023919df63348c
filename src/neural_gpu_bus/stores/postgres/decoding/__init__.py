"""COPY BINARY bytes to columns: pure, compiled."""
