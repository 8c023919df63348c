"""The one writer: a stream of transactions on one side, growing columns on the other."""
