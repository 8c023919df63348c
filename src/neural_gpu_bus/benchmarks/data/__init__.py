"""Real data for the demo: what ships with skfolio, E-mini trades, or a folder of files."""
