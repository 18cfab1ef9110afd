"""Fields of a spec that may name something outside this package, and one walk over a spec that finds all of them."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from nino.specs.base import Spec
from nino.specs.errors import dotted
from nino.specs.references import KINDS, Reference, registered
from nino.specs.values import CONFIG, Allowed, Number, Word, YesNo

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core.core_schema import CoreSchema, ValidationInfo

Argument = Annotated[
    Number | Word | YesNo | list[Any],
    Allowed(meaning="An argument of a function or class of your own [as it takes it; required]"),
]
UserOptions = dict[str, Argument]  # those that it does not take are refused by `Use.problems`


class Outside(Allowed):
    """A name of ours, one that an installed package registers, or ``FILE.py:NAME`` and ``MODULE:NAME``.

    Args:
        kind: a key of `nino.specs.references.KINDS`.
        names: ours.
        options: the field beside it that holds the arguments; empty where there are none.
        apart: keys of that field that are not its arguments.
        beside: fields beside it that are arguments, too, where they are set.
    """

    def __init__(
        self, kind: str, names: Any = (), options: str = "", apart: tuple[str, ...] = (), beside: tuple[str, ...] = ()
    ) -> None:
        """Keep what is allowed."""
        group = KINDS[kind].group
        thing = "data set" if kind == "data" else kind
        meaning = f"a {thing} of your own: FILE.py:NAME, MODULE:NAME, or a name that a package registers in {group}"
        super().__init__(names=names, pattern="^[^:]+:[A-Za-z_][A-Za-z0-9_]*$", meaning=meaning)
        self.kind, self.options, self.apart, self.beside = kind, options, apart, beside

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The same in JSON Schema, with the names that are registered here."""
        schema: dict[str, Any] = handler(core)
        names = [*self.names, *sorted(registered(self.kind))]
        return schema | {"anyOf": [{"enum": names}, {"description": self.meaning, **self.bounds}]}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How a value is validated, also where no name is ours."""
        from pydantic_core import core_schema as make

        text: Any = {**handler(source), "strict": True}
        return make.with_info_after_validator_function(self._check, text)

    def _check(self, value: Any, info: ValidationInfo) -> Any:
        from pydantic_core import PydanticCustomError

        named = value in self.names or value in registered(self.kind)
        if info.context == CONFIG and not named and not re.fullmatch(self.bounds["pattern"], value):
            raise PydanticCustomError("names", "no such name")
        return value


@dataclass(frozen=True)
class Use:
    """Something outside this package that a spec names.

    Args:
        key: where the spec names it, dotted.
        text: as it stands there.
        kind: a key of `nino.specs.references.KINDS`.
        reference: what it is.
        options: arguments for it.
        offered: further arguments that it gets if it takes them.
    """

    key: str
    text: str
    kind: str
    reference: Reference
    options: Mapping[str, Any]
    offered: tuple[str, ...] = ()

    def problems(self) -> Iterator[str]:
        """What is wrong with it, in sentences, without running any of its code."""
        for problem in self.reference.problems(self.options, self.kind, self.offered):
            yield f"{self.key} (={self.text}): {problem}"


def uses(kind: Any, values: Any, path: tuple[str | int, ...] = ()) -> Iterator[Use]:
    """Everything outside this package that a spec names, with all specs inside it.

    Args:
        kind: the spec, or the type of a part of one.
        values: a spec, or a mapping of its keys.
        path: of the part; empty for the whole.
    """
    if values is None:
        return
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        get = values.get if isinstance(values, Mapping) else partial(getattr, values)
        for name in (each.name for each in fields(kind)):
            value, told = get(name), _outside(hints[name])
            if told is None or value is None or value in told.names:
                yield from uses(hints[name], value, (*path, name))
            elif (reference := Reference.find(value, told.kind)) is not None:
                options = (get(told.options) or {}) if told.options else {}
                arguments = {key: given for key, given in options.items() if key not in told.apart}
                offered = [each for each in KINDS[told.kind].offered if each not in told.beside or get(each)]
                yield Use(dotted([*path, name]), value, told.kind, reference, arguments, tuple(offered))
    elif get_origin(kind) in (Union, types.UnionType):
        for case in get_args(kind):
            if case is not types.NoneType:
                yield from uses(case, values, path)
    elif isinstance(values, Mapping) and len(parts := get_args(kind)) == 2:
        for key, value in values.items():
            yield from uses(parts[1], value, (*path, key))
    elif isinstance(values, list | tuple) and (parts := get_args(kind)):
        for i, value in enumerate(values):
            yield from uses(parts[0], value, (*path, i))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a spec's fields, which take longer to work out than to walk over."""
    return get_type_hints(kind, include_extras=True)


def _outside(hint: Any) -> Outside | None:
    """What a field's type says of names outside this package, also where the field may be left out."""
    for case in (hint, *get_args(hint)):
        for told in getattr(case, "__metadata__", ()):
            if isinstance(told, Outside):
                return told
    return None


def files(*specs: Spec) -> list[str]:
    """The Python files outside this package that specs name, each once."""
    named = (use.reference.file for spec in specs for use in uses(type(spec), spec))
    return list(dict.fromkeys(str(file) for file in named if file is not None))


def packages(*specs: Spec) -> list[str]:
    """The installed packages whose modules specs name, each once, as ``name version``."""
    named = (use.reference.package for spec in specs for use in uses(type(spec), spec))
    return sorted({package for package in named if package is not None})


def records(spec: Spec) -> dict[str, dict[str, str]]:
    """What identifies each thing outside this package that a spec names, by its key, as run records have it."""
    return {use.key: use.reference.record() for use in uses(type(spec), spec)}
