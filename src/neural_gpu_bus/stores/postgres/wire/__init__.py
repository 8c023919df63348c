"""What both directions share: messages of the protocol, type numbers, numbers at addresses."""
