"""What a server and its tables lack: facts of the catalog, and pure judgement over them."""
