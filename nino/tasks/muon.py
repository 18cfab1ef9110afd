"""Muon for the hidden matrices and filters, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class MuonAdamW(Optimizer):
    r"""Muon (Jordan et al., 2024) on hidden weights, AdamW on all that reads the input, heads, biases and norms.

    Muon orthogonalises the momentum, :math:`\theta \leftarrow \theta - \eta \, c \, U V^\top` with
    :math:`U S V^\top` the momentum's singular value decomposition (approximated by five Newton-Schulz iterations) and c
    such that an update has the size of AdamW's, so that both parts share one learning rate. The filters of a
    convolution are taken as a matrix, a row an output channel, as in Muon's source.

    Args:
        model: the network; its last ``nn.Linear`` is taken for the head, its embeddings and its first convolution for
            what reads the input.
        lr: learning rate of both.
        weight_decay: decoupled, of both; none on biases.
        **options: further arguments of ``torch.optim.Muon``.

    Raises:
        RuntimeError: where this PyTorch has no Muon (it came with 2.9).
        ValueError: for a network without hidden weights.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, **options: Any) -> None:
        """See the class."""
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(f"recipe.optimizer 'muon' needs PyTorch 2.9 or newer, this is {torch.__version__}")
        hidden = hidden_weights(model)
        if not hidden:
            raise ValueError(
                f"recipe.optimizer is 'muon', but {type(model).__name__} has no hidden matrices or filters"
            )
        chosen = {id(p) for p in hidden}
        rest = [(name, p) for name, p in model.named_parameters() if p.requires_grad and id(p) not in chosen]
        groups = [
            {"params": [p for name, p in rest if not name.endswith("bias")], "weight_decay": weight_decay},
            {"params": [p for name, p in rest if name.endswith("bias")], "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
        matrices = [p.detach().flatten(1) for p in hidden]  # torch's Muon takes nothing else
        self._muon = torch.optim.Muon(
            matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", **options
        )
        groups = [self._muon.param_groups[0] | {"params": hidden}, *self._adamw.param_groups]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self._share()

    def _share(self) -> None:
        """Let AdamW work on this one's groups and state, so that schedulers and checkpoints see both."""
        self._adamw.param_groups, self._adamw.state = self.param_groups[1:], self.state

    def _muon_step(self) -> None:
        """Let Muon take a step on this one's first group and state, each parameter as a matrix."""
        matrices = []
        for p in (hidden := self.param_groups[0])["params"]:
            matrices.append(matrix := p.detach().flatten(1))
            matrix.grad = None if p.grad is None else p.grad.flatten(1)
            self._muon.state[matrix] = self.state[p]
        self._muon.param_groups = [hidden | {"params": matrices}]
        self._muon.step()
        for p, matrix in zip(hidden["params"], matrices, strict=True):
            p.copy_(matrix.view(p.shape))  # flattening copies where filters lie channels last
        self._muon.state.clear()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters; returns the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon_step()
        self._adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load groups and state, as any optimizer does."""
        super().load_state_dict(state_dict)
        self._share()


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """Matrices and filters outside the embeddings, the first convolution and the head (the last ``nn.Linear``).

    >>> len(hidden_weights(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))))
    1
    """
    modules = list(model.modules())
    convolutions = [m for m in modules if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    ends: list[nn.Module] = [m for m in modules if isinstance(m, nn.Embedding)]
    ends += [*[m for m in modules if isinstance(m, nn.Linear)][-1:], *convolutions[:1]]
    excluded = {id(p) for m in ends for p in m.parameters()}
    filters = {id(m.weight) for m in convolutions}
    found = [p for p in model.parameters() if p.ndim == 2 or id(p) in filters]
    return [p for p in found if p.requires_grad and id(p) not in excluded]
