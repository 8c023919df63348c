"""The direct way beside the ways a user has today: equal results first, then honest times.

``demo`` takes real data through the whole path; ``cases`` times one step each. Both share
``measure`` (pure statistics) and ``equality`` (row by row). Rival libraries are imported inside
what runs them.
"""
