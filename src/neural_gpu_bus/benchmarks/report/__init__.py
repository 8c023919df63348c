"""The page of one demo run: one file of HTML with its pictures inside, nothing fetched."""
