"""What every model of a task must do, as checks on its data; the tests and ``nino check`` run them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nino.contracts import attempt
from nino.device import same_rng
from nino.tasks.calls import call, predictions
from nino.tasks.data import Inputs
from nino.tasks.model_graphs import task_graph
from nino.tasks.task import Task

BATCH = 4  # examples that a model is tried on
ALIKE = 1e-3  # rounding that other batches may bring, relative to the largest output


def violations(task: Task) -> list[str]:
    """Check that a task's model does what training, nowcasts and evaluation rely on.

    Args:
        task: names the model, and holds the data that it is tried on.

    Returns:
        A sentence for each check that fails, with what it saw; empty if all hold.
    """
    model = task.build_model(0)
    sentences: list[str] = []
    for check in (_same_for_a_seed, _form, _trains, _evaluates, _apart, _looks_back, _graph):
        with same_rng([task.device]):
            sentences += attempt(check, task, model)
    return sentences


def described(task: Task) -> str:
    """The graph of a task's model in words: its size, and each parameter that is left to the base optimizer."""
    return task_graph(task, task.build_model(0)).summary()


def _same_for_a_seed(task: Task, model: nn.Module) -> Iterator[str]:
    """The same seed gives the same network, whatever was drawn before."""
    torch.rand(1)
    again = task.build_model(0).state_dict()
    mine = model.state_dict()
    if again.keys() != mine.keys():
        yield "seed: two networks of one seed have other parameters"
    elif other := [name for name, value in mine.items() if not torch.equal(value, again[name])]:
        yield f"seed: {other[0]} differs in two networks of one seed; draw from torch's global generator alone"


def _form(task: Task, model: nn.Module) -> Iterator[str]:
    """Real parameters, and one finite prediction for each target."""
    if wrong := [name for name, p in model.named_parameters() if p.dtype != torch.float32]:
        yield f"form: parameter {wrong[0]} is no float32; recipe.precision says what is computed in less"
    inputs, targets = _batch(task)
    with torch.no_grad():
        out = predictions(call(model, inputs))
    asked = (*targets.shape, task.data.outputs) if task.data.loss == "cross_entropy" else tuple(targets.shape)
    if tuple(out.shape) != asked and not (task.data.loss == "mse" and out.numel() == targets.numel()):
        yield f"form: outputs of shape {tuple(out.shape)}, not {asked}"
    if not out.is_floating_point() or not out.isfinite().all():
        yield f"form: outputs of {out.dtype}, finite: {bool(out.isfinite().all())}"


def _trains(task: Task, model: nn.Module) -> Iterator[str]:
    """The loss is finite, and its gradient reaches every parameter that is to be trained."""
    model.zero_grad()
    loss = task.loss(model, _batch(task))
    if not loss.isfinite():
        yield f"trains: the loss of the first batch is {loss.item()}"
    loss.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        yield "trains: no parameter asks for a gradient"
    if lost := [name for name, p in trained.items() if p.grad is None]:
        yield f"trains: no gradient reaches {', '.join(lost[:3])} ({len(lost)} of {len(trained)}): use or freeze them"
    if broken := [name for name, p in trained.items() if p.grad is not None and not p.grad.isfinite().all()]:
        yield f"trains: the gradient of {broken[0]} is not finite"
    model.zero_grad()


def _evaluates(task: Task, model: nn.Module) -> Iterator[str]:
    """In evaluation mode the same inputs give the same bytes, and nothing is changed."""
    inputs, _ = _batch(task)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    if not torch.equal(_evaluated(model, inputs), _evaluated(model, inputs)):
        yield "evaluates: the same inputs give other outputs in evaluation mode; draw nothing there"
    if moved := [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]:
        yield f"evaluates: an evaluation changes {moved[0]}"


def _apart(task: Task, model: nn.Module) -> Iterator[str]:
    """In evaluation mode an example's outputs do not depend on the others in the batch: splits are taken in parts."""
    inputs, _ = _batch(task)
    whole, alone = _evaluated(model, inputs), _evaluated(model, tree_map(lambda tensor: tensor[:1], inputs))
    if (whole[:1] - alone).abs().max() > ALIKE * whole.abs().max():
        yield "apart: in evaluation mode an example's outputs depend on the others in its batch"


def _looks_back(task: Task, model: nn.Module) -> Iterator[str]:
    """A language model does not see the tokens that it is to predict."""
    inputs, _ = _batch(task)
    if task.data.kind != "language" or not isinstance(inputs, Tensor):
        return
    other = inputs.clone()
    other[:, -1] = (other[:, -1] + 1) % task.data.outputs
    first, second = _evaluated(model, inputs)[:, :-1], _evaluated(model, other)[:, :-1]
    if (first - second).abs().max() > ALIKE * first.abs().max():
        yield "looks back: the last token changes earlier outputs: the model sees what it is to predict"


def _graph(task: Task, model: nn.Module) -> Iterator[str]:
    """Some of the parameters lie on the neural graph, so that there is something to nowcast."""
    graph = task_graph(task, model)
    if len(graph.carried) == len(graph.parameters):
        yield f"graph: no parameter lies on it ({graph.reasons.get(graph.carried[0], 'not placed')})"


def _batch(task: Task) -> tuple[Inputs, Tensor]:
    return task.data.train.slice(0, min(BATCH, len(task.data.train)))


@torch.no_grad()
def _evaluated(model: nn.Module, inputs: Inputs) -> Tensor:
    was_training = model.training
    model.eval()
    out = predictions(call(model, inputs)).float()
    model.train(was_training)
    return out
