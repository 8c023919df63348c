"""The folder, its files, and their mappings."""
