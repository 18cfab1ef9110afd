from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from nino.config.schema import schema

from nino.config.load import load, without_nulls
from nino.nowcasters import NOWCASTERS
from nino.specs import (
    DataSpec,
    EvaluationSpec,
    L2OSpec,
    MetatrainSpec,
    MethodSpec,
    ModelSpec,
    OverheadSpec,
    PermutationSpec,
    RecipeSpec,
    ReportSpec,
    ScheduleSpec,
    Spec,
    TargetSpec,
    TaskSpec,
    TrajectorySpec,
)
from nino.tasks import DATASETS, MODELS
from nino.tasks.recipe import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "workflow" / "configs").rglob("*.yaml"))
UNIT = re.compile(r" \[(?P<unit>[^\[\];]+); (?P<default>required|default .+)\]$")

# Which definition describes which dataclass, and the fields that come from the entry's own name.
OWNERS: dict[str, tuple[type[Spec], set[str]]] = {
    "task": (TaskSpec, {"id"}),
    "data": (DataSpec, set()),
    "model": (ModelSpec, set()),
    "recipe": (RecipeSpec, set()),
    "target": (TargetSpec, set()),
    "evaluation": (EvaluationSpec, set()),
    "trajectory": (TrajectorySpec, set()),
    "schedule": (ScheduleSpec, set()),
    "method": (MethodSpec, {"name"}),
    "fit": (MetatrainSpec, {"kind", "model"}),
    "permutation_study": (PermutationSpec, set()),
    "overhead_study": (OverheadSpec, set()),
    "l2o": (L2OSpec, set()),
}

# Keys that say what is run, not how: they must not enter what a run is told.
PLAN = {"method": {"tasks"}, "l2o": {"task"}, "report": {"studies"}}


def objects(node: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in the schema that describes a mapping."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, child in node.items():
            yield from objects(child, f"{path}/{key}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from objects(child, f"{path}/{i}")


def leaves() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every described value that is no mapping: path, schema, whether it is required."""
    for path, node in objects(schema()):
        for name, child in node.get("properties", {}).items():
            if "$ref" not in child and child.get("type") != "object":
                yield f"{path}/{name}", child, name in node.get("required", ())


def test_the_schema_is_valid_2020_12() -> None:
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema())


def test_every_mapping_is_closed() -> None:
    """By ``additionalProperties``: false or a schema for named entries; options by a definition for each name."""
    by_name = {"data": "options", "model": "options", "nowcaster": "model"}
    for path, node in objects(schema()):
        owner = path.split("/")[-3] if path.endswith(("/options", "/model")) else ""
        if owner == "method":  # a class of one's own takes what its constructor does
            assert {"then", "else"} <= set(schema()["$defs"]["method"])
            continue
        if by_name.get(owner) == path.split("/")[-1]:
            names = schema()["$defs"][owner]
            chosen = {case["if"]["properties"][k]["const"] for case in names["allOf"] for k in case["if"]["required"]}
            assert chosen == set(names["properties"][names["required"][0]]["enum"]), path
            continue
        closed = node.get("additionalProperties")
        assert closed is False or (isinstance(closed, dict) and "$ref" in closed), f"{path} is open"


def test_every_mapping_says_what_it_is() -> None:
    for path, node in objects(schema()):
        assert node.get("description"), path


@pytest.mark.parametrize(("path", "leaf", "required"), [pytest.param(*leaf, id=leaf[0]) for leaf in leaves()])
def test_every_leaf_has_meaning_unit_and_default(path: str, leaf: dict[str, Any], required: bool) -> None:
    noted = UNIT.search(leaf["description"])
    assert noted, f"{path}: {leaf['description']}"
    assert (noted["default"] == "required") == required, path
    if "default" in leaf:
        value, said = leaf["default"], noted["default"].removeprefix("default ")
        if isinstance(value, str | bool):
            assert said == (value if isinstance(value, str) else "yes" if value else "no"), path
        else:
            assert float(said) == value, path


@pytest.mark.parametrize("name", OWNERS)
def test_dataclasses_and_schema_agree(name: str) -> None:
    """The same keys, the same ones required, the same defaults."""
    kind, own = OWNERS[name]
    node = schema()["$defs"][name]
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in own}
    assert set(node["properties"]) - PLAN.get(name, set()) == set(fields)
    for key, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if name != "fit":
            assert needed == (key in node.get("required", ())), key
        if field.default not in (dataclasses.MISSING, None):
            assert node["properties"][key]["default"] == field.default, key


def test_report_and_schema_agree() -> None:
    node = schema()["properties"]["report"]
    fields = {f.name: f.default for f in dataclasses.fields(ReportSpec)}
    for key, leaf in node["properties"].items():
        assert key in {*fields, *PLAN["report"]}
        if "default" in leaf:
            assert leaf["default"] == fields[key]


def test_an_entry_may_override_every_key_of_the_recipe() -> None:
    definitions = schema()["$defs"]
    assert set(definitions["fit"]["properties"]) <= set(definitions["nowcaster"]["properties"])


def test_names_are_those_of_the_code() -> None:
    definitions = schema()["$defs"]

    def allowed(definition: str, key: str) -> set[str]:
        return set(definitions[definition]["properties"][key]["enum"])

    assert allowed("data", "name") == set(DATASETS)
    assert allowed("model", "name") == set(MODELS)
    assert allowed("recipe", "optimizer") == set(OPTIMIZERS)
    named, own = definitions["method"]["properties"]["nowcaster"]["anyOf"]
    assert set(named["enum"]) == {"none", "oracle", "checkpoint", "metatrained", "l2o", *NOWCASTERS}
    assert not any(re.search(own["pattern"], name) for name in named["enum"])


@pytest.mark.parametrize("overlay", [None, *CONFIGS], ids=lambda path: path.stem if path else "config")
def test_every_key_of_a_config_is_in_the_schema(overlay: Path | None) -> None:
    values = without_nulls(load([overlay] if overlay else [], ROOT / "config.yaml"))
    assert not list(Draft202012Validator(schema()).iter_errors(values))


def test_the_base_config_shows_every_key() -> None:
    """Every key that has a default in the schema stands in config.yaml, too, once at least: no number is hidden."""
    shown = set(_keys(load([], ROOT / "config.yaml")))
    properties = schema()["properties"]
    wanted = set(schema()["$defs"]["schedule"]["properties"]) | set(schema()["$defs"]["fit"]["properties"])
    wanted |= set(properties["report"]["properties"]) | (set(properties) - {"data_dir"})
    assert wanted <= shown


def _keys(values: Any) -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield key
            yield from _keys(value)
