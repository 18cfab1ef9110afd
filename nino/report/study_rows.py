"""Rows and columns that a study's table has because of the run that it is made of.

An entry of ``studies.yaml`` may leave open which tasks and methods a run has: a row or column whose title holds
``{task}`` stands for one a task, ``{label}`` for one a method (the baseline left out), and in all of its values
``{task}``, ``{optimizer}`` (the task's), ``{method}`` and ``{label}`` are filled in. ``more`` has the name of a method
a column, ``{x}`` for a number: the run's methods with a number that no row has get one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nino.specs import ReportSpec

Entry = Mapping[str, Any]


def expanded(entry: Entry, spec: ReportSpec | None) -> Entry:
    """A study's entry with the rows and columns of a run.

    Args:
        entry: of the study.
        spec: of the run; None leaves the entry as it is.

    Returns:
        The entry with nothing open.
    """
    if spec is None:
        return entry
    found = {**entry}
    for part in ("columns", "rows"):
        found[part] = [item for each in entry[part] for item in _filled_in(each, spec)]
    if "contrast" in entry:
        columns = [
            filled["title"] for title in entry["contrast"]["columns"] for filled in _filled_in({"title": title}, spec)
        ]
        found["contrast"] = {**entry["contrast"], "columns": columns}
    return with_more(found, (method.name for method in spec.methods))


def with_more(entry: Entry, methods: Iterable[str]) -> Entry:
    """A study's entry with a row for every number that some methods have in their names and its rows have not.

    Args:
        entry: of the study; its ``more`` holds the name of a method a column, ``{x}`` for the number.
        methods: names of a run's methods.

    Returns:
        The entry, its rows in the order of their numbers.

    >>> entry = {"rows": [{"title": "40", "x": 40, "each": [{"method": "nino-40"}]}], "more": ["nino-{x}"]}
    >>> [row["x"] for row in with_more(entry, ["nino", "nino-4", "nino-40"])["rows"]]
    [4, 40]
    """
    patterns = [re.escape(name).replace(re.escape("{x}"), r"(\d+)") for name in entry.get("more", ())]
    matches = (re.fullmatch(pattern, method) for method in methods for pattern in patterns)
    missing = {int(match[1]) for match in matches if match} - {row.get("x") for row in entry["rows"]}
    if not missing:
        return entry
    rows = [
        {"title": str(x), "x": x, "each": [{"method": name.format(x=x)} for name in entry["more"]]} for x in missing
    ]
    return {**entry, "rows": sorted([*entry["rows"], *rows], key=lambda row: row["x"])}


def _filled_in(item: Entry, spec: ReportSpec) -> Iterator[Entry]:
    """A row or column, once a task and method of the run that its title leaves open."""
    tasks = [{"task": task.id, "optimizer": task.recipe.optimizer} for task in spec.tasks]
    names = [method.name for method in spec.methods if method.name != spec.baseline]  # the config's order
    methods = [{"method": name, "label": spec.label(name)} for name in names]
    for task in tasks if "{task}" in item["title"] else [{}]:
        for method in methods if "{label}" in item["title"] else [{}]:
            yield _replace(item, {**task, **method})


def _replace(value: Any, names: Mapping[str, str]) -> Any:
    """A nested value with names in the places of ``{...}``."""
    if isinstance(value, Mapping):
        return {key: _replace(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_replace(part, names) for part in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value
