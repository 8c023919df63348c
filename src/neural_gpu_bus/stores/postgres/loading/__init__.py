"""Files to tables, safe to repeat."""
