"""Columns to rows, in one transaction."""
