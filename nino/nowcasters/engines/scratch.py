"""The buffers that a thread of the streamed engine computes in."""

from __future__ import annotations

import torch

from nino.nowcasters.engines.fold import Folded

WIDE = 64  # a chunk has room for at least so many features per edge; of blocks with fewer, more edges are read at once


class Scratch:
    """A thread's buffers for a tile.

    Args:
        folded: the folded network, where the computation is to run.
        chunk: edges at a time.
        features: most features F*c that a block has.
    """

    def __init__(self, folded: Folded, chunk: int, features: int) -> None:
        """Allocate them."""
        like, d = folded.last, folded.last.shape[-1]
        self.raw = torch.empty(chunk * max(features, WIDE), device=like.device)
        self.features = self.raw if like.dtype == torch.float32 else self.raw.to(like.dtype)
        self.hidden = [torch.empty(chunk, d, dtype=like.dtype, device=like.device) for _ in range(2)]
        contracts = like.device.type == "cpu" and like.dtype == torch.float32
        self.outer = torch.empty(chunk * d if contracts else 0, device=like.device)  # see ``Stream._contracted``

    @staticmethod
    def bytes_an_edge(features: int, hidden: int) -> int:
        """Size, for each edge of the chunk."""
        return 4 * (max(features, WIDE) + 3 * hidden)
