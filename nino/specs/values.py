"""What the values of a key may be: types of fields that pydantic understands, without importing it.

No text is taken for a number, no number for yes or no, and NaN and infinity are no numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from nino.specs.schema import adapter

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core.core_schema import CoreSchema, ValidationInfo

CONFIG = "config"  # context of a validation that allows known names only; files of runs may name a user's own data sets


class Allowed:
    """What a value may be, beside its type: the metadata of an ``Annotated`` type.

    Args:
        names: the only texts that a config may say; with a pattern, texts that match it are allowed, too.
        unique: whether an entry of a list may stand there once only.
        meaning: of an entry of a list or a key of a mapping, and of a text that the pattern allows beside ``names``.
        **bounds: of numbers and lengths, by pydantic's names: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``,
            ``max_length``, and ``pattern`` of a text.
    """

    def __init__(self, *, names: Iterable[str] = (), unique: bool = False, meaning: str = "", **bounds: Any) -> None:
        """Keep what is allowed."""
        self.names, self.unique, self.meaning, self.bounds = tuple(names), unique, meaning, bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How a value is validated."""
        from pydantic_core import core_schema as make

        schema: Any = handler(source)
        if not self.names:
            schema |= self.bounds
        if schema["type"] == "union":  # one error for all of its cases
            schema |= {"custom_error_type": "union", "custom_error_message": "none of the types"}
        elif schema["type"] in ("int", "float", "bool", "str"):
            schema["strict"] = True
        if schema["type"] == "float":
            return make.no_info_wrap_validator_function(_as_given, schema | {"allow_inf_nan": False})
        if self.names or self.unique:
            schema = make.with_info_after_validator_function(self._check, schema)
        if "off" in self.names:
            return make.no_info_before_validator_function(_as_written, schema)
        return schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The same in JSON Schema."""
        schema: dict[str, Any] = handler(core)
        if self.names and self.bounds:
            schema["anyOf"] = [{"enum": [*self.names]}, {"description": self.meaning, **self.bounds}]
        elif self.names:
            schema["enum"] = [*self.names]
        elif self.meaning:
            schema["description"] = self.meaning
        return schema | ({"uniqueItems": True} if self.unique else {})

    def _check(self, value: Any, info: ValidationInfo) -> Any:
        from pydantic_core import PydanticCustomError

        if self.unique and (twice := first_repeated(value)) is not None:
            raise PydanticCustomError("repeated", "{value} stands there twice", {"value": twice})
        if self.names and value not in self.names and info.context == CONFIG:
            if not re.fullmatch(self.bounds.get("pattern", r"\Z."), value):
                raise PydanticCustomError("names", "no such name")
        return value


@dataclass(frozen=True, eq=False)
class Chosen:
    """A mapping whose keys depend on another field, which comes before it: that field's values are closed in configs.

    Args:
        by: name of that field.
        cases: by its value, the type of the mapping.
        other: the type for all other values; None where there are none.
    """

    by: str
    cases: Mapping[str, Any]
    other: Any = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How a value is validated."""
        from pydantic_core import core_schema as make

        return make.with_info_after_validator_function(self._check, handler(source))

    def _check(self, value: Any, info: ValidationInfo) -> Any:
        kind = self.cases.get(info.data.get(self.by, ""), self.other if self.by in info.data else None)
        if info.context == CONFIG and kind is not None and value is not None:
            adapter(kind).validate_python(value, context=CONFIG)
        return value  # as given: what is left out stays left out in recorded specs


def _as_given(value: Any, validate: Any) -> Any:
    """A whole number stays one where any number is allowed: it is recorded as the config has it."""
    validate(value)
    return value


def _as_written(value: Any) -> Any:
    """The word that YAML 1.1 took for yes or no: ``amp: off`` is read as false."""
    return ("on" if value else "off") if isinstance(value, bool) else value


def first_repeated(values: Iterable[Any]) -> Any | None:
    """The first value that stands twice, None where none does.

    >>> first_repeated([1, 2, 1])
    1
    """
    seen = []
    for value in values:
        if value in seen:
            return value
        seen.append(value)
    return None


RUN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
MOST = 10**9  # largest count: a larger number is a typing error, and a schedule makes a list of its nowcasts
Count = Annotated[int, Allowed(ge=1, le=MOST)]
Several = Annotated[int, Allowed(ge=2, le=MOST)]
MOST_SEED = 2**63 - 1  # that logs and tables can hold
Seed = Annotated[int, Allowed(ge=0, le=MOST_SEED)]
Number = Annotated[float, Allowed()]
Positive = Annotated[float, Allowed(gt=0)]
NonNegative = Annotated[float, Allowed(ge=0)]
Share = Annotated[float, Allowed(gt=0, le=1)]
Probability = Annotated[float, Allowed(ge=0, lt=1)]
YesNo = Annotated[bool, Allowed()]
Word = Annotated[str, Allowed()]
Text = Annotated[str, Allowed(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]  # of one line, as labels and paths are
Name = Annotated[
    str,
    Allowed(
        pattern=NAME,
        max_length=100,
        meaning="Name of a task, nowcaster or method: letters, digits and . _ + - (it becomes part of a path)",
    ),
]
RunName = Annotated[str, Allowed(pattern=RUN, max_length=100)]
Names = Annotated[tuple[Name, ...], Allowed(min_length=1, unique=True)]
Precision = Annotated[str, Allowed(names=("float32", "bfloat16"))]
Topology = Annotated[str, Allowed(names=("released", "exact", "naive"))]
