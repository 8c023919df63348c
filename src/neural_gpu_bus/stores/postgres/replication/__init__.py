"""Logical replication: what a table must have for it, and its changes as whole transactions."""
