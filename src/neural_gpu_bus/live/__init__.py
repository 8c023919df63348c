"""PostgreSQL tables as growing columns that follow every commit.

    WAL --pgoutput--> transactions --net effect per key--> growing columns --one step--> readers

One process of a home writes (``service``); any number of processes read, without it in the way.
"""
