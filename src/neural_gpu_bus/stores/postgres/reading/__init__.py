"""Statements to columns."""
