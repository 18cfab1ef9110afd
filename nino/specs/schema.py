"""The JSON Schema (2020-12) of a spec: made from its fields' types, and from the ``Args`` of its docstring."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler, TypeAdapter
    from pydantic_core.core_schema import CoreSchema

Node = dict[str, Any]


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """What validates the values of a type; made once."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@cache
def schema(kind: type) -> Node:
    """The JSON Schema of a spec; every mapping closed, every leaf described as ``Meaning [unit; default]``."""
    made = adapter(kind).json_schema(ref_template="#/$defs/{model}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.__name__, **made}


def leaves(root: Node, node: Node | None = None, path: str = "") -> Iterator[tuple[str, str]]:
    """Each key whose value is no mapping, dotted (``NAME`` where entries are named freely), with its meaning."""
    node = resolved(root, root if node is None else node)
    if node.get("type") != "object":
        yield path, node["description"]
        return
    for name, child in node.get("properties", {}).items():
        yield from leaves(root, child, f"{path}.{name}" if path else name)
    if isinstance(node.get("additionalProperties"), dict):
        yield from leaves(root, node["additionalProperties"], f"{path}.NAME")
    for case in node.get("allOf", ()):
        yield from leaves(root, {"type": "object", **case["then"]}, path)


def resolved(root: Node, node: Node) -> Node:
    """A node, or the definition that it refers to with what the node itself says."""
    if "$ref" not in node:
        return node
    definition = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return {**definition, **{key: value for key, value in node.items() if key != "$ref"}}


def described(kind: type, core: CoreSchema, handler: GetJsonSchemaHandler) -> Node:
    """The schema of one dataclass, with descriptions and with the cases of its options.

    Args:
        kind: the dataclass.
        core: pydantic's description of it.
        handler: makes the schema of a part.

    Returns:
        The schema, or a reference to it.
    """
    made = handler(core)
    node = handler.resolve_ref_schema(made)
    node["description"] = cleandoc(kind.__doc__ or "").partition("\n")[0].removesuffix(".")
    node.pop("title", None)
    texts, hints = meanings(kind), get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        leaf: Node = {key: value for key, value in node["properties"][field.name].items() if key != "title"}
        if cases := [case for case in leaf.pop("anyOf", ()) if case != {"type": "null"}]:
            leaf |= cases[0] if len(cases) == 1 else {"anyOf": cases}
        for pattern, entry in leaf.pop("patternProperties", {}).items():  # which leave other names open
            leaf |= {"additionalProperties": entry, "propertyNames": {**leaf["propertyNames"], "pattern": pattern}}
        if leaf.get("default", 0) in (None, {}):
            del leaf["default"]
        if field.name in texts:
            required = field.name in node.get("required", ())
            default = field.metadata.get("otherwise", "required" if required else _words(field.default))
            leaf["description"] = _with_default(texts[field.name], default)
        node["properties"][field.name] = leaf
        for chosen in getattr(hints[field.name], "__metadata__", ()):
            if hasattr(chosen, "cases"):
                leaf["type"] = "object"
                leaf.pop("additionalProperties", None)
                node.setdefault("allOf", []).extend(_cases(field.name, chosen, handler))
    return made


def _cases(field: str, chosen: Any, handler: GetJsonSchemaHandler) -> Iterator[Node]:
    """The cases of a mapping whose keys depend on another field (`nino.specs.values.Chosen`)."""
    tests: dict[Any, Node] = {
        kind: {"enum": [name for name in chosen.cases if chosen.cases[name] is kind]} for kind in chosen.cases.values()
    }
    if chosen.other is not None:
        tests[chosen.other] = {"not": {"enum": [*chosen.cases]}}
    for kind, test in tests.items():
        # a handler makes the schema of parts as a whole, of what it is given only the outermost layer
        options = handler({"type": "list", "items_schema": adapter(kind).core_schema})["items"]
        yield {
            "if": {"required": [chosen.by], "properties": {chosen.by: test}},
            "then": {"properties": {field: options}},
        }


@cache
def meanings(kind: type) -> Mapping[str, str]:
    r"""What each field of a spec means: the ``Args`` of its docstring and of those of its bases.

    >>> meanings(type("S", (), {"__doc__": "A schedule.\n\nArgs:\n    period: between\n        nowcasts [steps]."}))
    {'period': 'Between nowcasts [steps]'}
    """
    texts: dict[str, str] = {}
    owners = [*kind.__mro__, *getattr(kind, "entry_of", object).__mro__]
    for owner in reversed(owners):
        _, _, section = cleandoc(owner.__doc__ or "").partition("Args:\n")
        section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
        for name, text in re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", section, re.MULTILINE):
            words = " ".join(text.split()).removesuffix(".")
            texts[name] = words[:1].upper() + words[1:]
    return texts


def _with_default(text: str, default: str) -> str:
    """``Meaning [unit]`` as ``Meaning [unit; default]``, unless it says what holds without the key by itself."""
    if "; default" in text or not text.endswith("]"):
        return text
    return f"{text[:-1]}; {default if default == 'required' else f'default {default}'}]"


def _words(default: Any) -> str:
    if default in (MISSING, None, ()):
        return "none"
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)
