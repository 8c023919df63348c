"""``python -m neural_gpu_bus`` is ``ngb``."""

from neural_gpu_bus.cli.entry import run

run()
