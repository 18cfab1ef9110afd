"""What is wrong with values, in sentences: the key as people write it, its value, what is allowed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nino.specs.schema import Node, adapter, resolved, schema

if TYPE_CHECKING:
    from pydantic import ValidationError

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no",
    "array": "a list",
    "object": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "must hold at least {min_length} entry",
    "string_too_short": "must hold at least {min_length} character",
    "string_too_long": "must hold at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
}


def problems(kind: type, values: Mapping[str, Any], context: Any = None) -> list[str]:
    """Everything in a mapping that a spec does not allow.

    Args:
        kind: the spec.
        values: as read from a file.
        context: of pydantic's validation.

    Returns:
        One sentence each, in the order of the keys; none where the mapping is well-formed.
    """
    from pydantic import ValidationError

    try:
        adapter(kind).validate_python(values, context=context)
    except ValidationError as error:
        return sentences(error, kind, values)
    return []


def sentences(error: ValidationError, kind: type, values: Any) -> list[str]:
    """Pydantic's errors as sentences that name the key, its value, what is allowed and what it means."""
    root = schema(kind)
    told = [_sentence(dict(each), root, values) for each in error.errors(include_url=False) if not _follows(dict(each))]
    return [sentence for _, sentence in sorted(dict.fromkeys(told), key=lambda pair: pair[0])]


def _follows(error: dict[str, Any]) -> bool:
    """Whether a list is called too short only because entries of it are refused."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _sentence(error: dict[str, Any], root: Node, values: Any) -> tuple[str, str]:
    """The key whose value is at fault, by which sentences are sorted, and the sentence."""
    path, rule, value = list(error["loc"]), error["type"], error["input"]
    if path[-1:] == ["[key]"]:  # the name of an entry
        *path, _, _ = path
        node = _node(root, values, path)
        leaf = node.get("propertyNames") or {"description": node.get("description", "")}
    else:
        leaf = _node(root, values, path)
    if rule == "missing":
        return dotted(path[:-1]), f"{dotted(path)}: missing; {leaf['description']}"
    if rule in ("unexpected_keyword_argument", "invalid_key"):
        *above, key = path
        allowed = suggest(str(key), _node(root, values, above)["properties"])
        return dotted(above), f"{dotted([*above, str(key)])}: unknown key; {allowed}"
    if not path and rule == "value_error":
        return "", str(error["ctx"]["error"])
    shown = _short(json.dumps(value, default=str))
    return dotted(path), f"{dotted(path)} (={shown}){_fault(error, leaf, value)}".lstrip()


def _short(text: str) -> str:
    """A value as people can read it in a line.

    >>> _short("x" * 300)
    'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
    """
    return text if len(text) <= 80 else f"{text[:30]}...{text[-30:]}"


def _fault(error: dict[str, Any], leaf: Node, value: Any) -> str:
    """What is wrong with a value, and what is allowed: the end of a sentence."""
    rule, told = error["type"], error.get("ctx", {})
    cases = leaf.get("anyOf", [leaf])
    if rule == "names":
        others = [case["description"] for case in cases if "enum" not in case]
        ours = [suggest(str(value), cases[0]["enum"])] if cases[0]["enum"] else []
        return f": {'; or '.join([*ours, *others])}"
    if rule == "repeated":
        return f" holds {told['value']!r} twice; each may stand there once"
    if rule == "value_error":
        return f": {told['error']}"
    meaning = leaf.get("description", "")
    if rule in _BOUNDS:
        bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in told.items()}
        return f" {_BOUNDS[rule].format(**bounds)}; {meaning}"
    types = [leaf["type"]] if "type" in leaf else [case.get("type", "string") for case in cases]
    kinds = " or ".join(_TYPES[name] for name in types)
    return f" must be {kinds}{_number_hint(value, kinds)}; {meaning}"


def _node(root: Node, values: Any, path: Iterable[str | int]) -> Node:
    """The part of a schema that describes the value under a path."""
    node: Node = root
    for part in path:
        if isinstance(part, int):
            child = node.get("items", {})
        else:
            cases = [case["then"]["properties"] for case in node.get("allOf", ()) if _holds(case["if"], values)]
            children = [properties[part] for properties in (*cases, node.get("properties", {})) if part in properties]
            child = children[0] if children else node.get("additionalProperties") or {}
            if len(children) > 1 and "$ref" not in child:  # a case that is no spec: the field tells its meaning
                child = {"description": children[-1].get("description", ""), **child}
        node = resolved(root, {"description": node.get("description", "")} | child if isinstance(part, int) else child)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return node


def _holds(test: Node, values: Any) -> bool:
    """Whether the ``if`` of a case of options holds for a mapping."""
    ((name, allowed),) = test["properties"].items()
    if not isinstance(values, Mapping) or name not in values:
        return False
    return values[name] in allowed["enum"] if "enum" in allowed else values[name] not in allowed["not"]["enum"]


def _number_hint(value: Any, kinds: str) -> str:
    """YAML takes 1e-3 for text: it wants a dot."""
    if not isinstance(value, str) or "number" not in kinds:
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " (YAML reads this as text: write it without quotes and with a dot, as 1.0e-3)"


def dotted(path: Iterable[str | int]) -> str:
    """A key as people write it.

    >>> dotted(["evaluate", "seeds", 2])
    'evaluate.seeds[2]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggest(word: str, allowed: Iterable[str]) -> str:
    """What may have been meant, and what is allowed; the end of a sentence.

    >>> suggest("perod", ["period", "power"])
    "did you mean 'period'? Allowed: period, power"
    >>> suggest("x", [])
    'nothing is allowed here'
    """
    names = sorted(allowed)
    if not names:
        return "nothing is allowed here"
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    start = f"did you mean {near[0]!r}? Allowed" if near else "allowed"
    return f"{start}: {', '.join(names)}"
