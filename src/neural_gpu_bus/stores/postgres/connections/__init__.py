"""Connections to the server, lent clean, with limits on every wait."""
