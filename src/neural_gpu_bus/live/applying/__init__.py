"""Changes of tables put into growing columns: only what is left of a batch reaches them.

tuples --net effect per key--> rows that go, rows that come --places--> one exchange
"""
