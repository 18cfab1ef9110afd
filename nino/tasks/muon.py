"""Muon for the hidden matrices, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class MuonAdamW(Optimizer):
    r"""Muon (Jordan et al., 2024) on hidden weight matrices, AdamW on embeddings, heads, biases, norms, convolutions.

    Muon orthogonalises the momentum, :math:`\theta \leftarrow \theta - \eta \, c \, U V^\top` with
    :math:`U S V^\top` the momentum's singular value decomposition (approximated by five Newton-Schulz iterations) and c
    such that an update has the size of AdamW's, so that both parts share one learning rate.

    Args:
        model: the network; its last ``nn.Linear`` is taken for the head.
        lr: learning rate of both.
        weight_decay: decoupled, of both; none on biases.

    Raises:
        RuntimeError: where this PyTorch has no Muon (it came with 2.9).
        ValueError: for a network without hidden matrices.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        """See the class."""
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(f"recipe.optimizer 'muon' needs PyTorch 2.9 or newer, this is {torch.__version__}")
        hidden = hidden_matrices(model)
        if not hidden:
            raise ValueError(f"recipe.optimizer is 'muon', but {type(model).__name__} has no hidden weight matrices")
        chosen = {id(p) for p in hidden}
        rest = [(name, p) for name, p in model.named_parameters() if p.requires_grad and id(p) not in chosen]
        groups = [
            {"params": [p for name, p in rest if not name.endswith("bias")], "weight_decay": weight_decay},
            {"params": [p for name, p in rest if name.endswith("bias")], "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
        self._muon = torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        super().__init__(self._muon.param_groups + self._adamw.param_groups, {"lr": lr, "weight_decay": weight_decay})
        self._share()

    def _share(self) -> None:
        """Let the two optimizers work on this one's groups and state, so that schedulers and checkpoints see both."""
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self._muon.state = self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters; returns the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load groups and state, as any optimizer does."""
        super().load_state_dict(state_dict)
        self._share()


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weight matrices that are neither an embedding nor the head, the last ``nn.Linear``.

    >>> len(hidden_matrices(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))))
    1
    """
    ends: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    ends += [m for m in model.modules() if isinstance(m, nn.Linear)][-1:]
    excluded = {id(p) for m in ends for p in m.parameters()}
    return [p for p in model.parameters() if p.ndim == 2 and p.requires_grad and id(p) not in excluded]
