"""Weight nowcasting for any PyTorch model: Adam takes most of the steps, a graph network the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nino.version import __version__

if TYPE_CHECKING:
    from nino.optim import NiNo

__all__ = ["NiNo", "__version__"]


def __getattr__(name: str) -> Any:
    """Import ``NiNo`` when it is first asked for: ``import nino`` alone stays cheap."""
    if name == "NiNo":
        from nino.optim import NiNo

        return NiNo
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
