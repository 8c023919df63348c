"""What a person asks about the installation and the host; the command line prints it."""
