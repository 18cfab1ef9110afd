"""Filling in a study's rows and columns from the tasks and methods of a run.

A row or column of ``studies.yaml`` is a template if its title holds ``{task}``, ``{label}`` or ``{nowcasting}``: it is
repeated for each task, for each method except the baseline, or for each that makes nowcasts, with
``{task}``, ``{optimizer}`` (of the task), ``{method}`` and the method's label filled in throughout. ``more`` gives the
name of a method for each column, with ``{x}`` in the place of a number: methods of the run whose number is in no row
get a row of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nino.specs import ReportSpec

Entry = Mapping[str, Any]


def expanded(entry: Entry, spec: ReportSpec | None) -> Entry:
    """Fill in the templates of a study's entry.

    Args:
        entry: of the study.
        spec: of the run; None leaves the entry as it is.

    Returns:
        The entry without templates.
    """
    if spec is None:
        return entry
    filled = {**entry}
    for part in ("columns", "rows"):
        filled[part] = [item for each in entry[part] for item in _filled_in(each, spec)]
    if "contrast" in entry:
        columns = [
            each["title"] for title in entry["contrast"]["columns"] for each in _filled_in({"title": title}, spec)
        ]
        filled["contrast"] = {**entry["contrast"], "columns": columns}
    return with_more(filled, (method.name for method in spec.methods))


def with_more(entry: Entry, methods: Iterable[str]) -> Entry:
    """Add a row for every number that methods have in their names and no row of the entry has.

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
    """Repeat a row or column for the tasks and methods that its title stands for."""
    tasks = [{"task": task.id, "optimizer": task.recipe.optimizer} for task in spec.tasks]
    names = [method.name for method in spec.methods if method.name != spec.baseline]  # the config's order
    methods = {"{label}": names, "{nowcasting}": (*spec.nowcasting(), *spec.controls)}
    kind = next((kind for kind in methods if kind in item["title"]), "")
    filled = [{"method": name, kind[1:-1]: spec.label(name)} for name in methods.get(kind, ())]
    for task in tasks if "{task}" in item["title"] else [{}]:
        for method in filled if kind else [{}]:
            yield _replace(item, {**task, **method})


def _replace(value: Any, names: Mapping[str, str]) -> Any:
    """Replace ``{...}`` by names throughout a nested value."""
    if isinstance(value, Mapping):
        return {key: _replace(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_replace(part, names) for part in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value
