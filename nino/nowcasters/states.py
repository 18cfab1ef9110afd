"""Where past parameter states are read from: one tensor, or files that are mapped and never loaded whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from nino.graphs import NeuralGraph, Parameter
from nino.threads import Workers

PIECE_CPU = 1 << 16  # elements looked at together: five states of them fit a core's cache
PIECE_GPU = 1 << 20


@runtime_checkable
class States(Protocol):
    """The c last states of P parameters, read a parameter at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Parameters P (scalars) and states c."""

    @property
    def device(self) -> torch.device:
        """Where the values lie, and where predictions go."""

    def parts(self, parameter: Parameter) -> Sequence[Float[Tensor, "elements _"]]:
        """The states of one parameter, in tensors that hold one or more of them each, oldest first.

        Joined along their columns these are (elements, states); they may have any strides and dtype.
        """


class TensorStates:
    """States that lie in one (params, states) tensor of any strides, dtype and device."""

    def __init__(self, states: Tensor) -> None:
        """Wrap a floating point tensor."""
        if not states.is_floating_point():
            raise ValueError(f"`states` has dtype {states.dtype}; allowed are floating point types")
        self._states = states.detach()

    @property
    def shape(self) -> tuple[int, int]:
        """Parameters P (scalars) and states c."""
        rows, columns = self._states.shape
        return rows, columns

    @property
    def device(self) -> torch.device:
        """Where the tensor lies."""
        return self._states.device

    def parts(self, parameter: Parameter) -> Sequence[Float[Tensor, "elements _"]]:
        """One view of all states."""
        return (self._states[parameter.slice],)


class FileStates:
    """States that lie in files, one a state, mapped into memory and read where they are needed.

    Args:
        paths: c files, oldest state first, each with every parameter of the graph under its name.
        graph: whose parameters (names and shapes) the files must hold.
        read: maps a file into memory, as tensors by parameter; None takes it for safetensors.

    Raises:
        ValueError: for a file that cannot be read, lacks a parameter or has it in another shape or of no floating
            point type.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        graph: NeuralGraph,
        read: Callable[[Any], Mapping[str, Tensor]] | None = None,
    ) -> None:
        """Map the files and check names and shapes; no values are read."""
        self._rows = graph.num_parameters
        self._files = [(read or _read_safetensors)(path) for path in paths]
        for path, tensors in zip(paths, self._files, strict=True):
            for p in graph.parameters:
                tensor = tensors.get(p.name)
                if tensor is None or tuple(tensor.shape) != p.shape or not tensor.is_floating_point():
                    there = "is missing" if tensor is None else f"is {tensor.dtype} of shape {tuple(tensor.shape)}"
                    raise ValueError(
                        f"{path}: parameter {p.name!r} {there}, but the model has floating point of shape {p.shape}: "
                        f"pass states of the model that the graph was made from"
                    )

    @property
    def shape(self) -> tuple[int, int]:
        """Parameters P (scalars) and states c."""
        return self._rows, len(self._files)

    @property
    def device(self) -> torch.device:
        """Files are mapped into CPU memory."""
        return torch.device("cpu")

    def parts(self, parameter: Parameter) -> Sequence[Float[Tensor, "elements _"]]:
        """One view (numel, 1) of each file."""
        return [file[parameter.name].reshape(-1, 1) for file in self._files]


def _read_safetensors(path: str | Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # the reader has errors of its own, for foreign and truncated files
        raise ValueError(f"cannot read states from {path}: {error}; is it a whole safetensors file?") from error


class PartStates:
    """The states of one part of a divided graph (``nino.graphs.parts``).

    Args:
        states: the states of the whole graph's parameters.
        parameters: the part's parameters by name, as they lie in the whole graph.
    """

    def __init__(self, states: States, parameters: Mapping[str, Parameter]) -> None:
        """Count the part's elements."""
        self._states, self._parameters = states, parameters
        self._rows = sum(p.numel for p in parameters.values())

    @property
    def shape(self) -> tuple[int, int]:
        """Parameters of the part, and states."""
        return self._rows, self._states.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the whole graph's states lie."""
        return self._states.device

    def parts(self, parameter: Parameter) -> Sequence[Float[Tensor, "elements _"]]:
        """The states of a parameter of the part, looked up in the whole graph by its name."""
        return self._states.parts(self._parameters[parameter.name])


def as_states(states: Tensor | States) -> States:
    """``states`` itself, or a (params, states) tensor wrapped.

    >>> as_states(torch.zeros(3, 5)).shape
    (3, 5)
    """
    return TensorStates(states) if isinstance(states, Tensor) else states


def pieces(states: States, parameter: Parameter) -> Iterator[tuple[slice, list[Float[Tensor, "elements _"]]]]:
    """A parameter's states, some elements at a time: the range of the elements, and views as of ``parts``."""
    parts = states.parts(parameter)
    size = PIECE_CPU if states.device.type == "cpu" else PIECE_GPU
    for start in range(0, parameter.numel, size):
        piece = slice(start, min(start + size, parameter.numel))
        yield piece, [part[piece] for part in parts]


def require_finite(states: States, parameters: Sequence[Parameter]) -> None:
    """Raise for the first parameter with a state that is NaN or infinite, by name.

    Raises:
        ValueError: names the parameter and says what to do.
    """
    for parameter in parameters:
        for _, parts in pieces(states, parameter):
            if not all(bool(part.isfinite().all()) for part in parts):
                raise ValueError(
                    f"`states` holds NaN or infinity in parameter {parameter.name!r}: the training has diverged; "
                    f"go on from an earlier checkpoint, or with the base optimizer alone"
                )


def last_state(
    states: States, parameters: Sequence[Parameter], out: Float[Tensor, " params"], workers: Workers
) -> None:
    """Let ``workers`` copy the last state of every parameter to ``out``, converted to its dtype."""

    def copy(parameter: Parameter) -> None:
        out[parameter.slice] = states.parts(parameter)[-1][:, -1]

    workers.run(copy, parameters)
