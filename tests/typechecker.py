"""What checks annotations in tests (see ``conftest.py``): beartype, which takes an int where a float is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_signatures_with_tensors(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`jaxtyping.jaxtyped`, but what has no tensor in its signature is left alone: mypy reads that.

    Graphs call small functions of numbers a million times; checking each call takes as long as everything else. What
    a function defines inside itself would be decorated anew in every call.
    """

    def decorate(item: Any) -> Any:
        if "<locals>" in item.__qualname__:
            return item
        has_tensors = any("Tensor" in str(each) for each in getattr(item, "__annotations__", {}).values())
        return jaxtyped(typechecker=typechecker)(item) if has_tensors else item

    return decorate
