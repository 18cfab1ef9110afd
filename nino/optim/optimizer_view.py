"""A ``torch.optim.Optimizer`` that stands before another one and shares its groups and state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# What stands for an optimizer, such as schedulefree's wrapper, has all of these.
OptimizerLike = Any
INTERFACE = ("param_groups", "state", "step", "zero_grad", "state_dict", "load_state_dict", "add_param_group")


class OptimizerView(torch.optim.Optimizer):
    """What schedulers, gradient scalers and ``isinstance`` checks take for the optimizer; ``base`` does the work.

    Parameter groups, state and defaults *are* those of ``base``, also after ``load_state_dict`` has replaced them, so a
    learning-rate scheduler may be attached to either. Step hooks registered here run around every step, nowcasts
    included; process-wide step hooks run with ``base``.

    Args:
        base: the optimizer that holds groups and state.
    """

    def __init__(self, base: OptimizerLike) -> None:
        """See the class."""
        self.base = base
        forget_touched(base)
        self.__setstate__({})  # torch's way of making the hook registries without groups of one's own

    def __getstate__(self) -> dict[str, Any]:
        """Everything but a ``step`` that a scheduler has patched: copies get the class's own."""
        return {key: value for key, value in self.__dict__.items() if key != "step"}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The base optimizer's list of groups itself."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base.param_groups = groups

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """The base optimizer's state itself."""
        return self.base.state

    @state.setter
    def state(self, state: defaultdict[Tensor, Any]) -> None:
        self.base.state = state

    @property
    def defaults(self) -> dict[str, Any]:
        """The base optimizer's defaults themselves."""
        return getattr(self.base, "defaults", {})

    @defaults.setter
    def defaults(self, defaults: dict[str, Any]) -> None:
        self.base.defaults = defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters of the base optimizer."""
        self.base.zero_grad(set_to_none=set_to_none)

    def train(self) -> None:
        """Put the base optimizer into training mode, if it has one (schedule-free optimizers)."""
        getattr(self.base, "train", _nothing)()
        forget_touched(self.base)

    def eval(self) -> None:
        """Put the base optimizer into evaluation mode, if it has one."""
        getattr(self.base, "eval", _nothing)()
        forget_touched(self.base)

    def _take_step(self, closure: Callable[[], Any] | None) -> Any:
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; see the class.

        Args:
            closure: re-evaluates the model and returns the loss, as for every torch optimizer.

        Returns:
            What the closure returned; None without one.
        """
        if not self._optimizer_step_pre_hooks and not self._optimizer_step_post_hooks:
            return self._take_step(closure)
        args: tuple[Any, ...] = (self, closure)
        kwargs: dict[str, Any] = {}
        for before in list(self._optimizer_step_pre_hooks.values()):
            if (changed := before(self, args, kwargs)) is not None:
                args, kwargs = changed
                closure = kwargs["closure"] if "closure" in kwargs else args[1]
        result = self._take_step(closure)
        for after in list(self._optimizer_step_post_hooks.values()):
            after(self, args, kwargs)
        return result

    # The base optimizer's own step reports to the profiler; a second report a step would only cost time.
    step.hooked = True  # type: ignore[attr-defined]


def _nothing() -> None:
    """What most optimizers do to train or evaluate."""


def is_fresh(base: OptimizerLike) -> bool:
    """Whether an optimizer has no state yet; empty entries, which schedule-free's ``train`` leaves, count as none."""
    return all(isinstance(entry, Mapping) and not entry for entry in base.state.values())


def forget_touched(base: OptimizerLike) -> None:
    """Drop a fresh optimizer's empty entries: ``torch.distributed.checkpoint`` takes them for a state."""
    if base.state and is_fresh(base):
        base.state.clear()


def check_optimizer(base: Any) -> None:
    """Refuse what is no optimizer.

    Raises:
        TypeError: names what it lacks.
    """
    lacks = [name for name in INTERFACE if not hasattr(base, name)]
    if not isinstance(base, torch.optim.Optimizer) and lacks:
        raise TypeError(
            f"`base_opt` is a {type(base).__name__}, which has no `{lacks[0]}`: pass a torch.optim.Optimizer, such "
            f"as AdamW, or what has the methods of one"
        )
