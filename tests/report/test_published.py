from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from nino.report.published import published, published_speedup, source_texts


def test_values_are_those_of_the_reference_file(shared: Path) -> None:
    reference = yaml.safe_load((shared / "published.yaml").read_text())
    for section, values in reference.items():
        entry = published(section)
        assert entry is not None and entry.value == values, section


def test_every_value_has_a_source_that_is_explained() -> None:
    for section in ("targets", "steps_to_target", "mean_speedup_percent", "lr_study", "meta_training", "trajectories"):
        entry = published(section)
        assert entry is not None and entry.sources
        assert set(entry.sources) <= set(source_texts())


def test_what_was_not_published_is_none() -> None:
    assert published("steps_to_target", "wnn_plus", "fm-16") is None
    assert published("steps_to_target", "nino", "wiki-4-128") is None
    assert published_speedup("nino", "digits-8") is None


def test_nine_speedups_average_as_the_review_thread_says() -> None:
    steps = published("steps_to_target", "nino")
    assert steps is not None and len(steps.value) == 9
    found = [published_speedup("nino", task) for task in steps.value]
    mean = np.mean([entry.value for entry in found if entry])
    quoted = published("mean_speedup_percent", "nino")
    assert quoted is not None and round(float(mean), 1) == quoted.value == 48.9


@pytest.mark.parametrize("section", ["sources", "step_to_target"])
def test_unknown_section_is_named_with_those_that_exist(section: str) -> None:
    with pytest.raises(ValueError, match=f"{section}.*steps_to_target"):
        published(section)
