"""Blocks on their way into memory: columns taken apart, reserved, filled, sealed."""
