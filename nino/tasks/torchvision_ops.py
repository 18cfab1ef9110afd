"""Let torchvision be imported where its compiled operators do not load.

On a CPU build of torch, torchvision's wheel may find no compiled library that fits; its import then fails with
``operator torchvision::nms does not exist``, because it registers shape functions for two operators that the
library would have defined. transformers imports torchvision, so it fails too. Only the pure-Python parts (data sets,
transforms, models) are used here, and those need no more than that the two operators are *declared*.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# declarations last as long as the library object
_declared: list[torch.library.Library] = []


def declare_missing_operators() -> None:
    """Declare ``torchvision::nms`` and ``torchvision::qnms`` where nothing has; call before importing torchvision.

    The declarations have no kernels: calling one of them raises ``NotImplementedError``. Where torchvision's compiled
    library loads, it is loaded here and nothing is declared.
    """
    if _declared or (found := importlib.util.find_spec("torchvision")) is None:
        return
    for folder in found.submodule_search_locations or []:
        for compiled in sorted(Path(folder).glob("_C*.so")) + sorted(Path(folder).glob("_C*.pyd")):
            with suppress(OSError):  # built for another torch: what this function is for
                torch.ops.load_library(compiled)
    missing = {name: schema for name, schema in _SCHEMAS.items() if not hasattr(torch.ops.torchvision, name)}
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in missing.values():
            library.define(schema)
        _declared.append(library)
