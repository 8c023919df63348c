"""What tables are called, what they are made of, and how they are made."""
