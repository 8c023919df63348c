"""Results of queries that stay: found by statement and values, by every process of the host.

How old one may be is said at each call; without a word the query is read now.
"""

from neural_gpu_bus.query_cache.explanation import QueryExplanation
from neural_gpu_bus.query_cache.query_cache import QueryCache, QueryCacheStatistics

__all__ = ["QueryCache", "QueryCacheStatistics", "QueryExplanation"]
