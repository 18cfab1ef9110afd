"""The base of every spec.

A spec is a plain frozen dataclass. The type of a field says what is allowed (see `nino.specs.values`), the ``Args`` of
the docstring what the field means, with its unit in brackets. Pydantic reads both, and is imported only where values
come from outside: in `Spec.from_dict` and `nino.specs.errors.problems`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nino.specs.errors import problems, sentences
from nino.specs.schema import adapter, described
from nino.specs.values import CONFIG

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core.core_schema import CoreSchema

# Keys that came later: recorded specs from before do not hold them.
LATER = (
    *("better", "checkpoint_every", "models", "start_within"),
    *("options", "around", "schedule", "averaging"),  # of a recipe
    *("recipe", "optimizer", "lr", "weight_decay", "tasks"),  # of a method, and of its recipe
)


@dataclass(frozen=True)
class Spec:
    """Built from a plain mapping, turned back into one."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "validate_default": True}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping of this dataclass's own keys, nested specs as mappings.

        Raises:
            ValueError: for keys and values that are not allowed; names each of them and what is allowed.
        """
        from pydantic import ValidationError

        try:
            kind: Any = cls
            made: Self = adapter(kind).validate_python(values)
        except ValidationError as error:
            raise ValueError(f"{cls.__name__}: {'; '.join(sentences(error, cls, values))}") from None
        return made

    @classmethod
    def under(cls, key: str, values: Mapping[str, Any]) -> Self:
        """`from_dict` of what a config has under ``key``, where names are closed, too; errors begin with the key."""
        if wrong := problems(cls, values, CONFIG):
            raise ValueError("; ".join(f"{key}.{problem}" for problem in wrong))
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """The plain mapping, nested specs included."""
        return asdict(self, dict_factory=_without_later)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON Schema of the spec."""
        return described(cls, core, handler)


def _without_later(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping without keys of ``LATER`` that are None: what was recorded before they existed stays what it is."""
    return {key: value for key, value in pairs if value is not None or key not in LATER}
