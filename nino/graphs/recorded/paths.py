"""What tells apart how slices of one tensor are treated (see ``Value.path``)."""

from __future__ import annotations

from typing import Any

from nino.graphs.recorded.names import ARRANGED, COPIES, PICKED
from nino.graphs.recorded.rules import Call
from nino.graphs.recorded.values import Value


def path_of(call: Call) -> int:
    """The path of a call's result: that of its inputs if they share one and are only rearranged, else a hash."""
    values = call.values
    paths = dict.fromkeys(v.path for v in values)
    if call.name == "copy":
        return values[-1].path
    if len(paths) == 1 and call.name in ARRANGED | COPIES:
        if call.name not in PICKED or all(v.fields for v in values):
            return values[0].path
    plain = [(name, a) for name, a in call.args.items() if not isinstance(a, Value)]
    return hash((call.name, tuple(v.path for v in values), repr([x for x in plain if not _holds_values(x[1])])))


def _holds_values(argument: Any) -> bool:
    return isinstance(argument, list | tuple) and any(isinstance(x, Value) for x in argument)
