"""How rules are written and found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.values import Value


@dataclass(slots=True)
class Call:
    """One operation of the forward pass.

    Args:
        name: the operation's name, without its overload, in-place mark or variant.
        func: the operation.
        args: its arguments by name, tensors as ``Value``, defaults filled in.
        outputs: the tensors that it returned, None in the place of anything else.
    """

    name: str
    func: Any
    args: dict[str, Any]
    outputs: tuple[Tensor | None, ...]

    def __getitem__(self, name: str) -> Any:
        """An argument by the name that ATen's schema gives it."""
        return self.args[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that not every overload has."""
        return self.args.get(name, default)

    @property
    def values(self) -> list[Value]:
        """All tensors among the arguments, those in lists too."""
        out: list[Value] = []
        for argument in self.args.values():
            for item in argument if isinstance(argument, list | tuple) else (argument,):
                if isinstance(item, Value):
                    out.append(item)
        return out

    @property
    def first(self) -> Value:
        """The first tensor."""
        return self.values[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        out = self.outputs[0]
        assert out is not None
        return tuple(out.shape)


Rule = Callable[[Reading, Call], Value | Sequence[Value | None]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


def rule_for(name: str, func: Any) -> Rule:
    """The rule for an operation: its own, that of its kind, or the one for operations that nothing is known of."""
    if name in RULES:
        return RULES[name]
    if torch.Tag.pointwise in func.tags:
        return RULES["pointwise"]
    return RULES["unknown"]


def blank(call: Call, kind: str = "data") -> list[Value | None]:
    """Outputs along which there are positions only."""
    return [
        None if out is None else Value(fresh_axes(tuple(out.shape)), kind=kind)  # type: ignore[arg-type]
        for out in call.outputs
    ]


@rule("unknown")
def unknown(r: Reading, call: Call) -> list[Value | None]:
    """An operation that nothing is known of: neurons that it reads keep their order, parameters in it are carried."""
    for value in call.values:
        r.tell_apart(value, value.axes, f"{call.name} is not known")
        if value.kind == "weight":
            r.stop(value.made_of, call.name)
    return blank(call)
