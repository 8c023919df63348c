"""The process that runs a home's private servers and workers for as long as somebody needs them.

One per home. ``ngb.open()`` starts it when there is none, and holds a connection to it; when the
last one closes, orderly or by the death of its process, the keeper stops everything and goes.
``ngb up`` makes it stay. Its children die with it.
"""
