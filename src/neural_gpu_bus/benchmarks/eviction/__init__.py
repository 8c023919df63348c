"""``ngb bench eviction``: which policy saves the most reload time, against what is possible."""
