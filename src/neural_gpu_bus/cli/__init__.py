"""The command line: it asks the layers and prints what they say; it computes nothing."""
