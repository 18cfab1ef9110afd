"""The config against its JSON Schema, with errors that a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from nino.config.errors import dotted, first_repeated, suggest

if TYPE_CHECKING:
    from jsonschema import ValidationError

_NAMES = {"string": "text", "integer": "a whole number", "number": "a number", "array": "a list", "object": "a mapping"}
_BOUNDS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "minItems": "must hold at least {} entry",
    "minProperties": "must hold at least {} entry",
    "minLength": "must hold at least {} character",
}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the config, ``nino/config/schema.json``."""
    return load_schema("schema.json")


@cache
def load_schema(name: str) -> dict[str, Any]:
    """A JSON Schema of this folder."""
    loaded: dict[str, Any] = json.loads(files("nino.config").joinpath(name).read_text(encoding="utf-8"))
    return loaded


def problems(config: Mapping[str, Any], against: Mapping[str, Any] | None = None) -> list[str]:
    """Everything that the schema does not allow, one sentence each, in the order of the keys.

    Args:
        config: the merged mapping.
        against: the schema; default that of the config.

    Returns:
        Sentences that name the key, its value and what is allowed; none where the config is well-formed.
    """
    from jsonschema import Draft202012Validator  # costs 0.4 s that a job with a resolved spec need not pay

    errors = Draft202012Validator(schema() if against is None else against).iter_errors(config)
    found = (
        sentence for error in sorted(errors, key=lambda e: dotted(e.absolute_path)) for sentence in _explain(error)
    )
    return list(dict.fromkeys(found))


def _explain(error: ValidationError) -> Iterator[str]:
    path = list(error.absolute_path)
    key, rule = dotted(path), error.validator
    value: Any = error.instance
    leaf: Any = error.schema
    bound: Any = error.validator_value
    if rule == "additionalProperties":
        allowed = leaf.get("properties", {})
        for name in (name for name in value if name not in allowed):
            yield f"{dotted([*path, str(name)])}: unknown key; {suggest(str(name), allowed)}"
        return
    if rule == "required":
        missing = next(name for name in bound if f"'{name}' is a required" in error.message)
        meaning = _meaning(leaf.get("properties", {}).get(missing, {}))
        yield f"{dotted([*path, missing])}: missing; {meaning}"
        return
    subject = f"{key} (={json.dumps(value, default=str)})"
    if rule == "type":
        wanted = " or ".join(_NAMES.get(t, t) for t in _as_list(bound))
        yield f"{subject} must be {wanted}{_number_hint(value, wanted)}; {_meaning(leaf)}"
    elif rule == "enum":
        yield f"{subject}: {suggest(str(value), map(str, bound))}"
    elif rule == "anyOf":  # a name of a list, or something of the form that the other case describes
        names = [name for case in bound for name in case.get("enum", ())]
        others = [case["description"] for case in bound if "description" in case]
        yield f"{subject}: {'; or '.join([suggest(str(value), names), *others])}"
    elif rule == "pattern":
        yield f"{subject} must match {bound}; {_meaning(leaf)}"
    elif rule == "uniqueItems":
        yield f"{subject} holds {first_repeated(value)!r} twice; each may stand there once"
    elif isinstance(rule, str) and rule in _BOUNDS:
        yield f"{subject} {_BOUNDS[rule].format(bound)}; {_meaning(leaf)}"
    else:
        yield f"{subject}: {error.message}"


def _meaning(leaf: Mapping[str, Any]) -> str:
    if "$ref" in leaf:
        leaf = schema()["$defs"][leaf["$ref"].rsplit("/", 1)[1]]
    description: str = leaf.get("description", "see nino/config/schema.json")
    return description


def _number_hint(value: Any, wanted: str) -> str:
    """YAML takes 1e-3 for text: it wants a dot."""
    if not isinstance(value, str) or "number" not in wanted:
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " (YAML reads this as text: write it without quotes and with a dot, as 1.0e-3)"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
