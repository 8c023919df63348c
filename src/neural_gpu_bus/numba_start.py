"""numba starts without scipy's linear algebra, which it only looks for and none of our loops uses.

Loading the first compiled loop imports numba's functions on arrays, and those import scipy's
linear algebra to see that it is there: 0.14 of the 1.25 s of a process that decodes one row (CPU,
two cores of an AMD EPYC). It is looked for without being loaded instead. Code that needs it, the
caller's own too, loads it when it is compiled: numba asks for it by name again.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

#: What numba imports to see whether there is linear algebra.
LOOKED_FOR = "scipy.linalg.cython_blas"
_LOOKS = "numba.np.arraymath"


def start() -> None:
    """Import what numba needs before it loads a loop. Once; where scipy is not installed, or loaded
    already, numba finds out by itself.
    """
    if _LOOKS in sys.modules or LOOKED_FOR in sys.modules:
        return
    if importlib.util.find_spec("scipy") is None:
        return
    stand_in = ModuleType(LOOKED_FOR)
    sys.modules[LOOKED_FOR] = stand_in
    try:
        importlib.import_module(_LOOKS)
    finally:
        if sys.modules.get(LOOKED_FOR) is stand_in:
            del sys.modules[LOOKED_FOR]
