"""PostgreSQL by COPY BINARY: pure codecs (bytes to columns and back) with thin connections."""
