"""The plain training loop of one network, a step at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from nino.device import same_rng, seed_generator
from nino.seeding import derive
from nino.tasks import Batch, Task, build_average, build_optimizer
from nino.tasks.calls import call
from nino.tasks.data import Inputs
from nino.tasks.networks import is_ours

Wrapper = Callable[[Optimizer, nn.Module], Optimizer]
STATISTICS = 20  # batches from which batch norm's running statistics are taken anew


class Training:
    """The training of one network of a task, determined by the task, the seed and the optimizer.

    Batch i belongs to step i: a step that needs no gradient (a nowcast) skips its batch, so that step i of a seed sees
    the same batch whatever the optimizer does. Dropout masks are drawn from ``derive(seed, "dropout")`` and the step;
    the global generators are not used. The recipe's schedule sets the learning rate of each step, nowcasts counted as
    steps. Where the recipe averages weights, the average is what is measured; measuring never changes the training.

    Args:
        task: what is trained.
        seed: of initialisation, order and dropout.
        wrap: makes the optimizer from the recipe's optimizer and the model, e.g. ``NiNo``; None uses the recipe's.

    Attributes:
        model: the network, in training mode.
        optimizer: what ``step`` calls.
        steps: updates done.
        parameters: the model's parameters in ``named_parameters`` order.
        average: of the weights; None where the recipe asks for none.
    """

    def __init__(self, task: Task, seed: int, wrap: Wrapper | None = None) -> None:
        """See the class."""
        self.task = task
        self.seed = seed
        self.model = task.build_model(seed)
        self.parameters = list(self.model.parameters())
        base = build_optimizer(task.spec.recipe, self.model)
        if hasattr(base, "train"):  # schedule-free ones begin in their evaluation mode
            base.train()
        self.optimizer = base if wrap is None else wrap(base, self.model)
        self._modes = hasattr(base, "train") and hasattr(self.optimizer, "eval")
        self._peaks = [group.get("lr") for group in self.optimizer.param_groups]
        self.average = build_average(task.spec.recipe.averages, self.model)
        if self.average is not None and hasattr(self.optimizer, "register_nowcast_post_hook"):
            self.average.follow(self.optimizer)
        self.steps = 0
        self._order = task.order(seed)
        # a network from outside may draw random numbers in modules other than nn.Dropout
        self._dropout = not is_ours(task.spec.model) or any(
            isinstance(m, nn.Dropout) and m.p > 0 for m in self.model.modules()
        )

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
        self.schedule(self.optimizer)
        if getattr(self.optimizer, "need_grads", True):
            for parameter in self.parameters:  # what `zero_grad` does, less its bookkeeping
                parameter.grad = None
            with self._seeded_dropout():
                loss = self._backward()
        self.optimizer.step()
        self.stepped()
        return loss

    def schedule(self, optimizer: Optimizer) -> None:
        """Set the learning rate of the next step, of this training's optimizer or of one with the same groups."""
        recipe = self.task.spec.recipe
        if recipe.schedule is not None:
            factor = recipe.schedule.factor(self.steps + 1, recipe.steps)
            for group, peak in zip(optimizer.param_groups, self._peaks, strict=True):
                if peak is not None:
                    group["lr"] = factor * peak

    def stepped(self) -> None:
        """Count a step that has been taken, and let the average take it into account."""
        self.steps += 1
        if self.average is not None:
            self.average.step(self.steps)

    def _backward(self) -> Tensor:
        """The loss of the next step, detached; adds its gradient to the parameters'."""
        parts = self.task.parts(self.next_batch())
        losses = []
        for part in parts:
            loss = self.task.loss(self.model, part)
            (loss / len(parts) if len(parts) > 1 else loss).backward()
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def flat_parameters(self) -> Tensor:
        """(P,), a copy: all parameters, flattened and concatenated in ``named_parameters`` order."""
        return torch.cat([p.detach().flatten() for p in self.parameters])

    def evaluate(self, split: str) -> float:
        """The task's metric on ``validation`` or ``test``, of the network that is `measured`."""
        with self.measured() as model:
            return self.task.evaluate(model, split)

    @contextmanager
    def measured(self) -> Iterator[nn.Module]:
        """The network to measure: the average, or what an optimizer's evaluation mode makes of the weights.

        Afterwards the training goes on with the bits that it had before. Running statistics of batch norm, which are
        those of the trained weights, are taken anew in an evaluation mode, from the training batches that come next.
        """
        if self.average is not None and self.average.updates:
            yield self.average.model
        elif not self._modes:
            yield self.model
        else:
            tensors = [*self.parameters, *self.model.buffers()]
            before = [tensor.detach().clone() for tensor in tensors]
            optimizer: Any = self.optimizer
            optimizer.eval()
            try:
                with torch.no_grad(), self._seeded_dropout():
                    update_bn(([self._inputs(i)] for i in range(STATISTICS)), _Called(self.model))
                yield self.model
            finally:
                optimizer.train()
                with torch.no_grad():
                    for tensor, value in zip(tensors, before, strict=True):
                        tensor.copy_(value)

    def _inputs(self, ahead: int) -> Inputs:
        """The inputs of the batch that is so many steps ahead."""
        return self.task.data.train.select(self._order.indices(self.steps + ahead))[0]

    def state_dict(self) -> dict[str, Any]:
        """All that a later ``load_state_dict`` needs to continue as if nothing had happened.

        As in PyTorch's own, its tensors are those in use: save or copy it before the next step.
        """
        return {
            "seed": self.seed,
            "steps": self.steps,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        } | ({} if self.average is None else {"average": self.average.state_dict()})

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
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @contextmanager
    def _seeded_dropout(self) -> Iterator[None]:
        """Draw this step's dropout masks from a generator state of its own."""
        if not self._dropout:
            yield
            return
        with same_rng([self.task.device]):
            seed_generator(self.task.device, derive(derive(self.seed, "dropout"), f"step {self.steps}"))
            yield


class _Called(nn.Module):
    """A network that takes the inputs of a batch as one argument, whatever its own are."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Inputs) -> Any:
        return call(self.model, inputs)
