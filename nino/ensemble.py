"""Many networks of one task trained at once: stacked parameters, one vectorised loss, one fused optimizer step."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from nino.device import same_rng
from nino.tasks import Task, build_optimizer
from nino.tasks.networks import is_ours
from nino.training import Training

log = logging.getLogger(__name__)

STACKABLE = ("adam", "adamw", "sgd")
"""Optimizers that treat each element of a parameter alone, so that a stack of tensors is one more tensor to them."""

GPU_MEMBERS = 8
"""Networks trained at once on a GPU by default; one of the paper's networks fills a small part of it."""


TRIED = 4  # examples on which networks from outside are tried together and alone


class Ensemble:
    r"""Trainings of one task that take their steps together.

    Parameter :math:`\theta` of M networks is one tensor (M, \*shape); each member's is a view of it. A step takes the
    gradient of :math:`\sum_i L(\theta_i, \text{batch}_i)`, whose part for member i is that of :math:`L(\theta_i)`, and
    one step of the recipe's optimizer on the stack. Each member keeps its own seed, initialisation and batch order and
    equals the same training alone up to rounding (the kernels sum in another order). Optimizer states are shared as
    views too, so that a member's ``state_dict`` is that of a plain training, and either can go on from the other's.

    A member may be wrapped in ``NiNo``: it takes its nowcasts itself (``member.step()``), and the ensemble takes the
    steps of its base optimizer. A single member is trained without a stack, with the same bits as alone.

    Args:
        members: at least one; of the same task, after the same number of steps.

    Raises:
        ValueError: for members that cannot be stacked; see ``obstacle``.
    """

    def __init__(self, members: Sequence[Training]) -> None:
        """See the class."""
        self.members = list(members)
        if not self.members:
            raise ValueError("`members` is empty: give at least one training")
        first = self.members[0]
        if any(
            m.task.spec != first.task.spec or m.task.data is not first.task.data or m.steps != first.steps
            for m in self.members
        ):
            raise ValueError("`members` must be of one task and after the same number of steps")
        self._stack: nn.Module | None = None
        if len(self.members) > 1:
            if reason := obstacle(first.task):
                raise ValueError(f"`members`: networks of {first.task.spec.id!r} cannot be trained at once: {reason}")
            if other := [
                m for m in self.members if type(_base(m)).__name__.lower() != first.task.spec.recipe.optimizer
            ]:
                name = type(_base(other[0])).__name__
                raise ValueError(f"`members`: seed {other[0].seed} is trained by {name}, not by the recipe's optimizer")
            self._gather()

    def step(self) -> Tensor:
        """One update of every member by its base optimizer.

        Returns:
            (M,) losses before the update, detached, on the task's device.

        Raises:
            RuntimeError: where a member's next step is a nowcast and needs no gradient.
        """
        if not all(getattr(m.optimizer, "need_grads", True) for m in self.members):
            raise RuntimeError("a member's step is a nowcast: take it with the member's own `step`")
        if self._stack is None:
            loss = self.members[0].step()
            assert loss is not None  # it needed gradients
            return loss.reshape(1)
        first = self.members[0]
        for optimizer in (self._optimizer, *map(_base, self.members)):
            first.schedule(optimizer)
        losses = self._losses()
        for parameter in self._named.values():
            parameter.grad = None
        losses.sum().backward()
        for member in self.members:
            if member.optimizer is not _base(member):
                member.optimizer.step()  # the wrapper counts and saves states; the stack takes the base step
        self._optimizer.step()
        for member in self.members:
            member.stepped()
        if not self._shared:
            self._share()
        return losses.detach()

    def flat_parameters(self) -> Tensor:
        """(M, P), a copy: each member's parameters as ``Training.flat_parameters`` gives them."""
        if self._stack is None:
            return self.members[0].flat_parameters().unsqueeze(0)
        return torch.cat([p.detach().flatten(1) for p in self._named.values()], 1)

    def release(self) -> list[Training]:
        """Dissolve the ensemble: its members continue alone, each with tensors of its own."""
        if self._stack is not None:
            for member in self.members:
                base = _base(member)
                del base.step  # makes the method of the class visible again
                for parameter in member.parameters:
                    parameter.data = parameter.data.clone()
                    if state := base.state.get(parameter):
                        base.state[parameter] = {k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}
            self._stack = None
        members, self.members = self.members, []
        return members

    def _losses(self) -> Tensor:
        """(M,) losses of the members' next batches."""
        task, count = self.members[0].task, len(self.members)
        indices = torch.cat([member.next_indices() for member in self.members])
        inputs, targets = tree_map(lambda t: t.unflatten(0, (count, -1)), task.data.train.select(indices))
        # fused attention has no rule for stacked inputs: it would be computed one by one
        with sdpa_kernel(SDPBackend.MATH):
            losses: Tensor = vmap(self._loss)(self._named, inputs, targets)
        return losses

    def _loss(self, parameters: dict[str, Tensor], inputs: Any, targets: Tensor) -> Tensor:
        assert self._stack is not None
        stack = self._stack
        forward = _Forward(lambda *x, **named: functional_call(stack, parameters, x, named))
        return self.members[0].task.loss(forward, (inputs, targets))

    def _gather(self) -> None:
        """Stack the members' parameters and optimizer states and make the members views of the stack."""
        models = [member.model for member in self.members]
        stack = copy.deepcopy(models[0])
        self._named: dict[str, Tensor] = dict(stack.named_parameters())
        for name, parameter in self._named.items():
            parameter.data = torch.stack([model.get_parameter(name).detach() for model in models])
            for i, model in enumerate(models):
                model.get_parameter(name).data = parameter.data[i]
        self._stack = stack
        self._optimizer: Optimizer = build_optimizer(self.members[0].task.spec.recipe, stack)
        bases = [_base(member) for member in self.members]
        for name, parameter in self._named.items():
            states = [b.state.get(m.get_parameter(name)) for b, m in zip(bases, models, strict=True)]
            if all(states):
                self._optimizer.state[parameter] = {k: _join(k, [s[k] for s in states if s]) for k in states[0] or ()}
        self._shared = False
        if self._optimizer.state:
            self._share()
        for base in bases:
            base.step = _left_to_the_stack  # type: ignore[assignment]

    def _share(self) -> None:
        """Make the members' optimizer states views of the stack's."""
        for i, member in enumerate(self.members):
            base = _base(member)
            for name, parameter in self._named.items():
                base.state[member.model.get_parameter(name)] = {
                    key: value[i] if isinstance(value, Tensor) and value.shape == parameter.shape else value
                    for key, value in self._optimizer.state[parameter].items()
                }
        self._shared = True


class _Forward(nn.Module):
    """A function as a module, which is what ``Task.loss`` takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        return self.function(*inputs, **named)


def obstacle(task: Task) -> str | None:
    """Why a task's networks cannot be trained at once with the results of each trained alone; None where they can.

    Args:
        task: the task; a network of it is built to look at.

    Returns:
        The reason, for a log or an error.
    """
    name, around = task.spec.recipe.optimizer, task.spec.recipe.around
    if name not in STACKABLE or around is not None:
        name = name if around is None else around.optimizer
        return f"{name} may treat a matrix as a whole, not element by element ({', '.join(STACKABLE)} do)"
    if task.spec.recipe.accumulate > 1:
        return f"it takes a batch in {task.spec.recipe.accumulate} parts to save memory"
    for module in task.build_model(0).modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            return f"its dropout ({module.p}) draws masks from one generator, which no member would draw alone"
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
            return f"{type(module).__name__} keeps running statistics"
    return None if is_ours(task.spec.model) else _unstackable(task)


def _unstackable(task: Task) -> str | None:
    """Why two networks from outside this package do not compute at once what they compute alone, found by trying."""
    models = [task.build_model(seed) for seed in range(2)]
    batch = tree_map(lambda tensor: torch.stack([tensor, tensor]), task.data.train.slice(0, TRIED))
    stacked = {
        name: torch.stack([model.get_parameter(name).detach() for model in models])
        for name, _ in models[0].named_parameters()
    }

    def loss(parameters: dict[str, Tensor], inputs: Any, targets: Tensor) -> Tensor:
        forward = _Forward(lambda *x, **named: functional_call(models[0], parameters, x, named))
        return task.loss(forward, (inputs, targets))

    try:
        with sdpa_kernel(SDPBackend.MATH), same_rng([task.device]):
            together = vmap(loss)(stacked, *batch).detach()
            alone = torch.stack([task.loss(model, task.data.train.slice(0, TRIED)).detach() for model in models])
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return f"its forward cannot be vectorised: {str(error).splitlines()[0]}"
    if not torch.allclose(together, alone, rtol=1e-3):
        return "together its networks have other losses than alone"
    return None


def members_at_once(task: Task, asked: int | None, count: int) -> int:
    """The number of networks of a task that a job trains at once.

    Args:
        task: the task.
        asked: the config's number; None takes 1 on a CPU, where stacking gains little, and ``GPU_MEMBERS`` on a GPU.
        count: number of networks in all.

    Returns:
        At least 1, at most ``count``; 1 for tasks that cannot be stacked, and the log says why if more were asked for.
    """
    at_once = asked if asked is not None else 1 if task.device.type == "cpu" else GPU_MEMBERS
    at_once = max(1, min(at_once, count))
    if at_once > 1 and (reason := obstacle(task)):
        log.log(
            logging.WARNING if asked else logging.INFO,
            "%s: its networks are trained one at a time instead of %d at once: %s",
            task.spec.id,
            at_once,
            reason,
        )
        return 1
    return at_once


def _base(training: Training) -> Optimizer:
    """The optimizer that does the work, inside the wrapper if there is one."""
    base: Optimizer = getattr(training.optimizer, "base", training.optimizer)
    return base


def _left_to_the_stack(closure: None = None) -> None:
    """Replaces the base step of a member: the stack's optimizer takes it."""


def _join(key: str, values: list[Any]) -> Any:
    """A stack's optimizer state from its members': tensors like the parameters stacked, step counts the same in all."""
    first = values[0]
    if not isinstance(first, Tensor):
        return first
    return first.clone() if key == "step" else torch.stack(values)
