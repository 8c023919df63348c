"""``python -m neural_gpu_bus`` is ``ngb``."""

from neural_gpu_bus.cli.main import run

run()
