"""A torchvision that can be imported: a guard for one broken pairing, which touches nothing on a healthy installation.

On Linux without a GPU, pip pairs a CUDA-built torchvision with a CPU-built torch. `import torchvision`, and with it
`import timm`, then fails with `operator torchvision::nms does not exist`. A file that imports either calls `ready()`
first, in workers too.
"""

from __future__ import annotations

import functools
import sys
from typing import Any


def ready() -> None:
    """Import torchvision, where its operators are missing after declaring the two it looks for.

    Raises:
        RuntimeError: any other fault of the installation, as it is.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for half_imported in [m for m in sys.modules if m.split(".")[0] in ("torchvision", "timm")]:
            del sys.modules[half_imported]
        _operators()
        import torchvision  # noqa: F401


@functools.cache
def _operators() -> Any:
    """The declarations; they live as long as what is returned here."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    return library
