from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nino.config.errors import ConfigError
from nino.config.site import Site, read_site
from nino.specs import SiteSpec
from nino.specs.schema import leaves, schema
from nino.specs.site import Partitions
from nino.tasks.registry import MODELS

SLURM = Path(__file__).resolve().parents[2] / "slurm"


def edited(folder: Path, **changes: object) -> Path:
    values = yaml.safe_load((SLURM / "site.yaml").read_text()) | changes
    (folder / "site.yaml").write_text(yaml.safe_dump(values))
    (folder / "config.yaml").write_text((SLURM / "config.yaml").read_text())
    return folder


def test_the_site_that_comes_with_the_workflow() -> None:
    site = read_site(SLURM)
    assert site.gpus["metatrain"] == "rtx8000" and site.gpus["default"] == "a100"
    assert set(site.gpus) - {"metatrain", "default"} <= set(MODELS)


def test_file_and_schema_name_the_same_keys() -> None:
    described = schema(SiteSpec)
    assert described["additionalProperties"] is False and all(meaning for _, meaning in leaves(described))
    assert set(described["properties"]) == set(yaml.safe_load((SLURM / "site.yaml").read_text()))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_minuts": 3}, "site.yaml: max_minuts: unknown key; did you mean 'max_minutes'?"),
        ({"max_minutes": 0}, "max_minutes (=0) must be at least 1"),
        ({"gpus": {"metatrain": "a100"}}, "gpus.default: missing"),
        ({"gpus": {"metatrain": "gpu:a100", "default": "a100"}}, "gpus.metatrain"),
        ({"max_minutes": 10}, "group-components: convnet=20: less than a minute for each"),
    ],
)
def test_what_no_cluster_can_be(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_site(edited(tmp_path, **changes))
    assert says in str(refused.value)


def test_retries_ask_for_more_up_to_the_ceiling() -> None:
    site = Site("", Partitions("c", "g"), {"metatrain": "x", "default": "y"}, "", 100, 5000, {"crowd": 10})
    memory, minutes = site.memory(2000), site.minutes(40)
    assert [memory(None, attempt=n) for n in (1, 2, 3)] == [2000, 4000, 5000]
    assert [minutes(None, attempt=n) for n in (1, 2, 3)] == [40, 80, 100]
    crowded = site.minutes(40, group=lambda wildcards: wildcards)
    assert 10 * crowded("crowd", attempt=1) <= 100 and crowded("alone", attempt=1) == 40


@pytest.mark.parametrize(
    ("kind", "gpu", "model", "partition"),
    [
        ("metatrain", 1, "x", "g"),
        ("resnet", 1, "y", "g"),
        ("convnet", 1, "", "g"),
        ("mlp", 0, "", "c"),
    ],
)
def test_where_a_job_runs(kind: str, gpu: int, model: str, partition: str) -> None:
    gpus = {"metatrain": "x", "default": "y", "convnet": "any", "mlp": "none"}
    site = Site("", Partitions("c", "g"), gpus, "", 100, 5000, {})
    for given in (kind, lambda wildcards: kind):
        asked = site.where(given)
        assert (asked["gpu"](None), asked["gpu_model"](None), asked["slurm_partition"](None)) == (gpu, model, partition)
    assert site.where()["slurm_partition"] == "c" and "gpu" not in site.where()


def test_account_and_constraint_are_asked_for_where_given(tmp_path: Path) -> None:
    asked = read_site(edited(tmp_path, account="physics", constraint="ib")).where()
    assert asked["slurm_account"] == "physics" and asked["constraint"] == "ib"
    assert not {"slurm_account", "constraint"} & set(read_site(SLURM).where())


def test_trainings_that_ask_for_the_same_share_a_group() -> None:
    site = read_site(SLURM)
    assert site.group("convnet") == "convnet" and site.group("gpt2") == site.group("llama") == "default"
    assert site.group("convnet", fitted=True) != site.group("convnet")
    assert {site.group(m, f) for m in ("convnet", "gpt2") for f in (False, True)} <= set(site.groups)
