"""How a statement's rows come over a connection."""
