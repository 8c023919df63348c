"""How blocks are read: windows on their bytes, and what other libraries make of them."""
