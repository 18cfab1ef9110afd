"""A learned optimizer as a ``torch.optim.Optimizer``, and the gradient that teaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nino.l2o.features import accumulate, feature_parts, features, fresh_state
from nino.l2o.net import L2ONet

# Of a tensor, whose features are held at once: 160 MB, and as much again for the layers of the network.
ELEMENTS = 2**20


class L2O(Optimizer):
    r"""Updates every tensor by an ``L2ONet``: :math:`\theta \leftarrow \theta - f_\phi(\text{features})`.

    Between ``open_unroll`` and ``close_unroll`` updates :math:`u_s` keep their autograd graphs. With
    :math:`\theta_t = \theta_0 - \sum_{s<t} u_s` and features taken as constants (no second derivatives, as in
    Andrychowicz et al., 2016), the summed losses of the unrolled steps have the same gradient in :math:`\phi` as

    .. math:: -\sum_t \langle g_t, \sum_{s<t} u_s \rangle,

    which needs no gradients but the :math:`g_t` that the steps compute anyway.

    Args:
        params: parameters of the network to be trained.
        net: on the parameters' device.
    """

    def __init__(self, params: Iterable[nn.Parameter], net: L2ONet) -> None:
        """See the class."""
        super().__init__(params, {})
        self.net = net
        self._moved: dict[Tensor, Tensor] | None = None
        self._objective: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have gradients; returns the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor) -> None:
        state = self.state[parameter]
        if not state:
            # a number in a tensor of its own, as torch's optimizers have it, so that state dicts are read as plain data
            state |= {"step": torch.zeros(()), **fresh_state(parameter)}
        state["step"] += 1
        accumulate(state, gradient)
        step = int(state["step"])
        if self._moved is None:
            parts = [self.net(seen) for _, seen in feature_parts(parameter, gradient, state, step, ELEMENTS)]
            parameter.sub_(torch.cat(parts).view_as(parameter))
            return
        seen = features(parameter, gradient, state, step)
        with torch.enable_grad():
            if (moved := self._moved.get(parameter)) is not None:
                self._objective = (self._objective or 0) - (moved * gradient.reshape(-1)).sum()
            update = self.net(seen)
            self._moved[parameter] = update if moved is None else moved + update
        parameter.sub_(update.detach().view_as(parameter))

    def open_unroll(self) -> None:
        """Record the graphs of the updates from now on."""
        self._moved, self._objective = {}, None

    def close_unroll(self) -> Tensor | None:
        """Stop recording.

        Returns:
            A scalar whose gradient in the net's parameters is that of the summed losses of the steps since
            ``open_unroll``; None where there were fewer than two. The last step's update does not count: no loss was
            computed after it.
        """
        objective, self._moved, self._objective = self._objective, None, None
        return objective
