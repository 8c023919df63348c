"""Layer 1, the compute bus: jobs and answers as descriptors, over Redis Streams.

``RedisJobQueue`` carries, ``run_worker`` and ``JobRunner`` work, ``Job`` waits.
"""

from neural_gpu_bus.bus.job import Job
from neural_gpu_bus.bus.queue import KEYS_PREFIX, RedisJobQueue
from neural_gpu_bus.bus.runner import JobRunner
from neural_gpu_bus.bus.worker import run_worker

__all__ = ["KEYS_PREFIX", "Job", "JobRunner", "RedisJobQueue", "run_worker"]
