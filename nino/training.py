"""The plain training loop of one network, a step at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nino.device import same_rng, seed_generator
from nino.seeding import derive
from nino.tasks import Batch, Task, build_optimizer
from nino.tasks.making import is_ours

Wrapper = Callable[[Optimizer, nn.Module], Optimizer]


class Training:
    """The training of one network of a task, determined by the task, the seed and the optimizer.

    Batch i belongs to step i: a step that needs no gradient (a nowcast) skips its batch, so that step i of a seed sees
    the same batch whatever the optimizer does. Dropout masks are drawn from ``derive(seed, "dropout")`` and the step;
    the global generators are not used.

    Args:
        task: what is trained.
        seed: of initialisation, order and dropout.
        wrap: makes the optimizer from the recipe's optimizer and the model, e.g. ``NiNo``; None uses the recipe's.

    Attributes:
        model: the network, in training mode.
        optimizer: what ``step`` calls.
        steps: updates done.
        parameters: the model's parameters in ``named_parameters`` order.
    """

    def __init__(self, task: Task, seed: int, wrap: Wrapper | None = None) -> None:
        """See the class."""
        self.task = task
        self.seed = seed
        self.model = task.build_model(seed)
        self.parameters = list(self.model.parameters())
        base = build_optimizer(task.spec.recipe, self.model)
        self.optimizer = base if wrap is None else wrap(base, self.model)
        self.steps = 0
        self._order = task.order(seed)
        # what a network from outside draws stands in no module that is known
        self._dropout = not is_ours(task.spec.model) or any(
            isinstance(m, nn.Dropout) and m.p > 0 for m in self.model.modules()
        )

    @property
    def num_parameters(self) -> int:
        """Number of parameters P."""
        return sum(p.numel() for p in self.parameters)

    def next_indices(self) -> Tensor:
        """The training examples, (batch_size,) long, of the next step; asking for them changes nothing."""
        return self._order.indices(self.steps)

    def next_batch(self) -> Batch:
        """The batch of the next step; asking for it changes nothing."""
        return self.task.data.train.select(self.next_indices())

    def step(self) -> Tensor | None:
        """Do one update.

        Returns:
            The loss before the update, a detached scalar on the model's device; None where the optimizer needed no
            gradient, because its step was a nowcast.
        """
        loss = None
        if getattr(self.optimizer, "need_grads", True):
            for parameter in self.parameters:  # what `zero_grad` does, less its bookkeeping
                parameter.grad = None
            with self._seeded_dropout():
                loss = self._backward()
        self.optimizer.step()
        self.steps += 1
        return loss

    def _backward(self) -> Tensor:
        """The loss of the next step, detached; adds its gradient to the parameters'."""
        parts = self.task.parts(self.next_batch())
        losses = []
        for part in parts:
            loss = self.task.loss(self.model, part)
            (loss / len(parts) if len(parts) > 1 else loss).backward()
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def flat_parameters(self, out: Tensor | None = None) -> Tensor:
        """All parameters, flattened and concatenated in ``named_parameters`` order.

        Args:
            out: (P,) floating tensor to fill, on any device; None makes a new one like the parameters.

        Returns:
            (P,), a copy.
        """
        if out is None:
            return torch.cat([p.detach().flatten() for p in self.parameters])
        if out.shape != (self.num_parameters,):
            raise ValueError(f"`out` has shape {tuple(out.shape)}, but the model has {self.num_parameters} parameters")
        start = 0
        for parameter in self.parameters:
            out[start : start + parameter.numel()].copy_(parameter.detach().flatten())
            start += parameter.numel()
        return out

    def evaluate(self, split: str) -> float:
        """The task's metric on ``validation`` or ``test``."""
        return self.task.evaluate(self.model, split)

    def state_dict(self) -> dict[str, Any]:
        """All that a later ``load_state_dict`` needs to continue as if nothing had happened.

        As in PyTorch's own, its tensors are those in use: save or copy it before the next step.
        """
        return {
            "seed": self.seed,
            "steps": self.steps,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of a training of the same task, seed and optimizer.

        Raises:
            ValueError: for the state of another seed.
        """
        if state["seed"] != self.seed:
            raise ValueError(f"`state` is of seed {state['seed']}, but this training has seed {self.seed}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # PyTorch would share its tensors
        self.steps = state["steps"]

    @contextmanager
    def _seeded_dropout(self) -> Iterator[None]:
        """Draw this step's dropout masks from a generator state of its own."""
        if not self._dropout:
            yield
            return
        with same_rng([self.task.device]):
            seed_generator(self.task.device, derive(derive(self.seed, "dropout"), f"step {self.steps}"))
            yield
