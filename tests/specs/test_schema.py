"""The config's description: closed, complete, and the same in pydantic and in JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nino.config.load import load, without_nulls
from nino.nowcasters import KNOWN, NOWCASTERS
from nino.report.published import published
from nino.report.studies import study, study_names
from nino.specs import Config, SiteSpec, problems
from nino.specs.methods import FITTED_TO, PUBLISHED
from nino.specs.schema import leaves, resolved, schema
from nino.specs.studies import OVERHEAD_METHODS, OVERHEAD_MODELS, STUDY_FIGURES, STUDY_TABLES
from nino.specs.values import CONFIG
from nino.studies import overhead
from nino.tasks import DATASETS, MODELS
from nino.tasks.recipe import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "workflow" / "configs").rglob("*.yaml"))
UNIT = re.compile(r" \[(?P<unit>[^\[\];]+); (?P<default>required|default .+)\]$")
ROOTS = {"config": schema(Config), "site": schema(SiteSpec)}


def objects(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema that describes a mapping."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, child in node.items():
            yield from objects(child, f"{path}/{key}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from objects(child, f"{path}/{i}")


def all_objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, root in ROOTS.items():
        yield from objects(root, name)


def described() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every value with a key of its own that is no mapping: path, schema, whether it is required."""
    for path, node in all_objects():
        for name, child in node.get("properties", {}).items():
            if "$ref" not in child and child.get("type") != "object":
                yield f"{path}/{name}", child, name in node.get("required", ())


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_the_schema_is_valid_2020_12(root: dict[str, Any]) -> None:
    assert root["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(root)


def test_every_mapping_is_closed() -> None:
    """By ``additionalProperties``: false, or a schema for entries with names; options by a definition for each name."""
    seen = 0
    for path, node in all_objects():
        closed = node.get("additionalProperties")
        assert "patternProperties" not in node, path
        if closed is None:  # options that depend on a name: each name has its case
            owner, field = path.rsplit("/properties/", 1)
            cases = ROOTS["config"]["$defs"][owner.rsplit("/", 1)[1]]["allOf"]
            assert all(list(case["then"]["properties"]) == [field] for case in cases), path
            seen += 1
            continue
        assert closed is False or (isinstance(closed, dict) and closed), f"{path} is open"
    assert seen == 8  # of data, model, method, nowcaster, and of the recipes of tasks, of rows and around


def ours(leaf: dict[str, Any]) -> list[str]:
    """The names of this package that a value may be."""
    names: list[str] = leaf.get("anyOf", [leaf])[0]["enum"]
    return names


def test_every_name_has_options_of_its_own() -> None:
    for owner, by in (("DataSpec", "name"), ("ModelSpec", "name"), ("NowcasterEntry", "kind")):
        node = ROOTS["config"]["$defs"][owner]
        tests = [case["if"]["properties"][by] for case in node["allOf"]]
        named = [name for test in tests for name in test.get("enum", ())]
        assert sorted(named) == sorted(ours(node["properties"][by]))
        outside = [test["not"]["enum"] for test in tests if "not" in test]  # those of names that are not ours
        assert all(sorted(names) == sorted(named) for names in outside)
        assert bool(outside) == ("anyOf" in node["properties"][by])


def test_every_mapping_says_what_it_is() -> None:
    for path, node in all_objects():
        assert node.get("description") or "/then/" in path or path.endswith("additionalProperties"), path


@pytest.mark.parametrize(("path", "leaf", "required"), [pytest.param(*leaf, id=leaf[0]) for leaf in described()])
def test_every_leaf_has_meaning_unit_and_default(path: str, leaf: dict[str, Any], required: bool) -> None:
    noted = UNIT.search(leaf["description"])
    assert noted, f"{path}: {leaf['description']}"
    assert (noted["default"] == "required") == required, path
    if "default" in leaf:
        value, said = leaf["default"], noted["default"].removeprefix("default ")
        if isinstance(value, list):
            assert (value, said) == ([], "none"), path
        elif isinstance(value, str | bool):
            assert said == (value if isinstance(value, str) else "yes" if value else "no"), path
        else:
            assert float(said) == value, path


def test_no_key_is_lost() -> None:
    """What ``nino config keys`` lists; a field whose docstring does not mention it would be without a meaning."""
    keys = dict(leaves(ROOTS["config"]))
    assert len(keys) > 140 and all(UNIT.search(meaning) for meaning in keys.values())
    assert keys["evaluate.schedule.period"] == "Between nowcasts, a multiple of context [steps; default 1000]"
    assert keys["metatrain.nowcasters.NAME.lr"].endswith("[per iteration; default that of metatrain.recipe]")
    assert {"tasks.NAME.model.options.channels", "report.notes.NAME", "evaluate.methods.NAME.options.NAME"} <= set(keys)
    assert not {"tasks.NAME.id", "evaluate.methods.NAME.name", "metatrain.recipe.kind", "report.overlays"} & set(keys)


def test_an_entry_may_override_every_key_of_the_recipe() -> None:
    definitions = ROOTS["config"]["$defs"]
    assert set(definitions["FitEntry"]["properties"]) <= set(definitions["NowcasterEntry"]["properties"])
    assert definitions["NowcasterEntry"]["required"] == ["kind"]


def test_names_are_those_of_the_code() -> None:
    definitions = ROOTS["config"]["$defs"]

    def names(definition: str, key: str) -> set[str]:
        return set(ours(definitions[definition]["properties"][key]))

    assert names("DataSpec", "name") == set(DATASETS)
    assert names("ModelSpec", "name") == set(MODELS)
    assert names("RecipeSpec", "optimizer") == set(OPTIMIZERS)
    named, other = definitions["MethodEntry"]["properties"]["nowcaster"]["anyOf"]
    assert set(named["enum"]) == {"none", "oracle", "checkpoint", "metatrained", "l2o", *NOWCASTERS}
    assert not any(re.search(other["pattern"], name) for name in named["enum"])
    assert set(OVERHEAD_MODELS) == set(overhead.MODELS) and set(OVERHEAD_METHODS) == set(overhead.METHODS)
    assert set(PUBLISHED) == set(KNOWN) and set(FITTED_TO) < set(PUBLISHED)
    assert STUDY_TABLES == study_names()
    assert STUDY_FIGURES == tuple(name for name in study_names() if study(name).x_title)
    trajectories = published("trajectories")
    assert trajectories is not None and FITTED_TO["nino_no_posw"] == tuple(trajectories.value)


@pytest.mark.parametrize("overlay", [None, *CONFIGS], ids=lambda path: path.stem if path else "config")
def test_committed_configs_are_well_formed(overlay: Path | None) -> None:
    values = without_nulls(load([overlay] if overlay else [], ROOT / "config.yaml"))
    assert problems(Config, values, CONFIG) == []
    assert not list(Draft202012Validator(ROOTS["config"]).iter_errors(values))


def put(values: Any, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("run",), "a/b"),
        (("run",), "x" * 101),
        (("tasks", "fm-16", "recipe", "lr"), 0),
        (("tasks", "fm-16", "recipe", "lr"), "0.1"),
        (("tasks", "fm-16", "recipe", "steps"), 1.5),
        (("tasks", "fm-16", "recipe", "steps"), True),
        (("tasks", "fm-16", "recipe", "momentum"), 0.9),
        (("tasks", "fm-16", "model", "options"), {}),
        (("tasks", "fm-16", "model", "options"), {"channels": []}),
        (("tasks", "fm-16", "data", "options"), {"block": 3}),
        (("tasks", "fm-16", "data", "name"), "mnist"),
        (("tasks", "lm1b-3-24", "data", "options"), {"files": {"train": 1}}),
        (("tasks", "a b"), {}),
        (("evaluate", "seeds"), 1000),
        (("evaluate", "seeds"), [1, 1]),
        (("evaluate", "seeds"), [2**63]),
        (("evaluate", "methods", "nino", "options"), {"edges": 2}),
        (("evaluate", "methods", "nino", "options"), {"still": "stay"}),
        (("evaluate", "methods", "nino"), {"nowcaster": "a.py:A", "options": {"x": {}}}),
        (("metatrain", "nowcasters", "nino", "model"), {"lpe": 3}),
        (("metatrain", "nowcasters", "nino", "kind"), "ninja"),
        (("report", "studies"), ["time", "time"]),
        (("studies",), {"overhead": {"models": []}}),
    ],
)
def test_both_refuse_the_same(path: tuple[str, ...], value: Any) -> None:
    values = without_nulls(load([], ROOT / "config.yaml"))
    put(values, path, value)
    assert list(Draft202012Validator(ROOTS["config"]).iter_errors(values))
    found = problems(Config, values, CONFIG)
    assert found and all(sentence.startswith(path[0]) for sentence in found)


def test_the_base_config_shows_every_key() -> None:
    """Every key that has a default stands in config.yaml, too, once at least: no number is hidden."""
    shown = set(_keys(load([], ROOT / "config.yaml")))
    root = ROOTS["config"]
    parts = [root["$defs"]["ScheduleSpec"], root["$defs"]["FitEntry"], resolved(root, root["properties"]["report"])]
    wanted = {key for part in parts for key in part["properties"]} | (set(root["properties"]) - {"data_dir"})
    assert wanted <= shown


def _keys(values: Any) -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield key
            yield from _keys(value)
