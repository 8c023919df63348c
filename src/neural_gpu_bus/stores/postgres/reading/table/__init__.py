"""A table by several connections on one snapshot."""
