from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from nino.config.errors import ConfigError
from nino.config.experiment import EvaluationJob
from nino.config.layout import Layout
from nino.config.load import load, merge, read
from nino.config.resolve import resolve
from nino.config.units import units
from nino.nowcasters.download import KNOWN

ROOT = Path(__file__).resolve().parents[2]


def put(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; ``...`` deletes it."""
    *parents, last = key.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    if value is ...:
        del config[last]
    else:
        config[last] = value


def complaint(config: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        resolve(config)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        # misspelt, unknown and missing keys
        ("evalute", {}, "evalute: unknown key; did you mean 'evaluate'?"),
        ("evaluate.schedule.perod", 20, "evaluate.schedule.perod: unknown key; did you mean 'period'?"),
        (
            "tasks.digits-8.recipe.learning_rate",
            1,
            "allowed: accumulate, around, averaging, batch_size, lr, optimizer, options, precision",
        ),
        ("tasks.digits-8.model.options.chanels", [8], "chanels: unknown key; did you mean 'channels'?"),
        ("tasks.digits-8.data.options", {"block": 3}, "tasks.digits-8.data.options.block: unknown key; nothing is"),
        ("tasks.pydoc-2-16.model.options.cells", 2, "options.cells: unknown key; allowed: dropout"),
        ("metatrain.nowcasters.wnn+.model", {"word_positions": True}, "word_positions: unknown key; allowed: hidden"),
        ("metatrain.recipe.seeds", 1, "metatrain.recipe.seeds: unknown key; did you mean 'seed'?"),
        ("report.baseline", ..., "report.baseline: missing; The method that speed-ups are measured against"),
        ("tasks.digits-8.recipe", ..., "tasks.digits-8.recipe: missing; How the base optimizer"),
        # values
        ("tasks.digits-8.recipe.lr", -0.1, "tasks.digits-8.recipe.lr (=-0.1) must be greater than 0"),
        ("tasks.digits-8.recipe.steps", 0, "tasks.digits-8.recipe.steps (=0) must be at least 1"),
        ("tasks.digits-8.recipe.steps", 10.5, "(=10.5) must be a whole number"),
        ("tasks.digits-8.recipe.lr", "6e-3", "YAML reads this as text: write it without quotes and with a dot"),
        ("trajectories.digits-8.models", -1, "trajectories.digits-8.models (=-1) must be at least 1"),
        ("report.confidence", 1, "report.confidence (=1) must be less than 1"),
        ("evaluate.seeds", [1000, 2000, 1000], "evaluate.seeds (=[1000, 2000, 1000]) holds 1000 twice"),
        ("evaluate.seeds", [], "evaluate.seeds (=[]) must hold at least 1 entry"),
        ("evaluate.seeds", [-1], "evaluate.seeds[0] (=-1) must be at least 0"),
        ("evaluate.seeds", [1000.0], "evaluate.seeds[0] (=1000.0) must be a whole number"),
        ("evaluate.seeds", [2**64], "(=18446744073709551616) must be at most 9223372036854775807"),
        (
            "trajectories.digits-8.first_seed",
            2**63 - 3,
            "and 5 models need seeds above 9223372036854775807",
        ),
        (
            "tasks.digits-8.recipe.steps",
            2**70,
            "steps (=1180591620717411303424) must be at most 1000",
        ),
        ("tasks.digits-8.recipe.lr", math.nan, "tasks.digits-8.recipe.lr (=NaN) must be a finite number"),
        ("report.confidence", math.nan, "report.confidence (=NaN) must be a finite number"),
        ("evaluate.schedule.power", math.inf, "evaluate.schedule.power (=Infinity) must be a finite number"),
        ("evaluate.methods.linear.options", {"update_scale": math.nan}, "options.update_scale (=NaN) must be a finite"),
        (
            "evaluate.methods.linear",
            {"nowcaster": "torch:Own", "options": {"weights": [1.0, -math.inf]}},
            "evaluate.methods.linear.options.weights[1] (=-Infinity) must be a finite number",
        ),
        ("metatrain.recipe.amp", True, 'metatrain.recipe.amp (="on"): allowed: auto, off'),
        ("run", "tiny\n", 'run (="tiny\\n") must match'),
        ("run", "x" * 300, "xxx...xxx"),
        ("evaluate.methods.linear.label", "a\nb", 'evaluate.methods.linear.label (="a\\nb") must match'),
        ("evaluate.methods.linear.label", "a\0", "must match"),
        ("evaluate.tasks", ["digits-8\n"], 'evaluate.tasks[0] (="digits-8\\n") must match'),
        ("evaluate.tasks", ["x" * 300], "must hold at most 100 characters"),
        ("evaluate.methods", {"a\nb": {"nowcaster": "none"}}, 'evaluate.methods (="a\\nb") must match'),
        ("evaluate.tasks", ["digits-8", "digits-8"], "holds 'digits-8' twice"),
        ("run", "a/b", 'run (="a/b") must match'),
        ("run", "smoke-v1", "run (='smoke-v1'): names that end in -v<number> are those of releases"),
        ("run", "smoke-v1", "run (='smoke-v1'): names that end in -v<number> are those of releases"),
        ("tasks.digits-8.recipe.optimizer", "adm", "did you mean 'adam'? Allowed: adam, adamw"),
        ("evaluate.methods.linear.nowcaster", "liner", "did you mean 'linear'? Allowed: checkpoint, identity"),
        ("tasks.digits-8.data.name", "digit", "did you mean 'digits'?"),
        # names
        ("report.notes", {"digits": "x"}, "report.notes[0] (='digits'): no such task; did you mean 'digits-8'?"),
        (
            "evaluate.methods.nino.tasks",
            ["pydoc"],
            "evaluate.methods.nino.tasks[0] (='pydoc'): not among evaluate.tasks",
        ),
        (
            "evaluate.methods.base.tasks",
            ["digits-8"],
            "evaluate.methods.base.tasks: base is the baseline of every task",
        ),
        ("evaluate.tasks", ["digits-9"], "evaluate.tasks[0] (='digits-9'): no such task; did you mean 'digits-8'?"),
        ("metatrain.tasks", ["pydoc-2-16"], "(='pydoc-2-16'): has no entry in trajectories; allowed: digits-8"),
        ("trajectories.digit", {"models": 1, "models_per_shard": 1, "state_every": 1}, "trajectories.digit: no such"),
        ("evaluate.methods.nino.source", "nyno", "evaluate.methods.nino.source (='nyno'): no such entry"),
        ("evaluate.methods.nino.source", ..., "evaluate.methods.nino.source: missing; a method with nowcaster"),
        (
            "evaluate.methods.linear.options",
            {"edges": 0.1},
            "options.edges (=0.1): approximates the messages of a NiNo",
        ),
        ("evaluate.methods.linear.options", {"scaling": "network"}, "options.scaling (=network): is for NiNo and WNN+"),
        ("evaluate.methods.nino.options", {"scaling": "none"}, 'options.scaling (="none"): allowed: network, tensor'),
        ("evaluate.methods.nino.options", {"edges": 0}, "options.edges (=0) must be greater than 0"),
        ("evaluate.methods.nino.options", {"subgraphs": "half"}, 'options.subgraphs (="half"): allowed: block, layer'),
        ("evaluate.methods.linear.path", "x.pt", "evaluate.methods.linear.path (='x.pt') goes with nowcaster"),
        (
            "report.baseline",
            "bas",
            "report.baseline (='bas') must be a method without a nowcaster; did you mean",
        ),
        ("report.baseline", "linear", "report.baseline (='linear') must be a method without a nowcaster"),
        (
            "evaluate.rows",
            ["base", "lniear"],
            "evaluate.rows[1] (='lniear'): no such entry of evaluate.methods; did you mean",
        ),
        ("evaluate.rows", ["linear"], "evaluate.rows: every task is compared with report.baseline (='base'); list it"),
        ("evaluate.rows", ["base", "base"], "holds 'base' twice"),
        ("evaluate.rows", [], "evaluate.rows (=[]) must hold at least 1 entry"),
        ("metatrain.nowcasters.nino.tasks", ["digits-9"], "metatrain.nowcasters.nino.tasks[0] (='digits-9')"),
        # numbers that do not fit each other
        (
            "evaluate.schedule.period",
            22,
            "evaluate.schedule.period (=22) must be divisible by evaluate.schedule.context (=5)",
        ),
        (
            "evaluate.schedule.period",
            200,
            "tasks.digits-8.recipe.steps (=100) must be at least one evaluate.schedule.period (=200)",
        ),
        ("evaluate.schedule.max_horizon", 41, "predicts at most 40 states ahead"),
        ("metatrain.nowcasters.nino.context", 4, "reads 4 states"),
        ("evaluate.methods.nino.options", {"context": 4, "spacing": 4}, "nino.options.context (=4): metatrain."),
        ("evaluate.methods.nino.options", {"horizons": [5, 41]}, "nino.options.horizons (=41): metatrain."),
        ("evaluate.methods.linear.options", {"context": 1}, "evaluate.methods.linear.options.context (=1) must be at"),
        (
            "evaluate.methods.linear.options",
            {"context": 3},
            "must be divisible by evaluate.methods.linear.options.context",
        ),
        (
            "evaluate.methods.linear.options",
            {"period": 200},
            "one evaluate.methods.linear.options.period (=200): there",
        ),
        (
            "evaluate.methods.linear.options",
            {"context": 10, "spacing": 4},
            "options.spacing (=4) must be at least 1 step, and 10 states that far apart must fit into one "
            "evaluate.schedule.period (=20): at most 2",
        ),
        (
            "evaluate.methods.linear",
            {"nowcaster": "checkpoint", "path": "nino_no_posw", "options": {"context": 10, "spacing": 1}},
            "options.context (=10): nino_no_posw (method linear) reads 5 states",
        ),
        ("evaluate.seeds", [1000, 4], "evaluate.seeds[1] (=4) is a seed of trajectories.digits-8 (0 to 4)"),
        ("trajectories.digits-8.first_seed", 996, "evaluate.seeds[0] (=1000) is a seed of trajectories.digits-8 (996"),
        ("trajectories.digits-8.state_every", 3, "must be a multiple of trajectories.digits-8.state_every (=3)"),
        ("trajectories.digits-8.models_per_shard", 6, "must be at most trajectories.digits-8.models (=5)"),
        ("trajectories.digits-8.steps", 20, "reach over 32 steps, but networks of digits-8 are trained 20"),
        ("metatrain.recipe.models", 5, "but trajectories.digits-8.models (=5) less validation_models (=1) are 4"),
        ("metatrain.recipe.validation_models", 5, "must be less than trajectories.digits-8.models (=5)"),
        ("tasks.digits-8.evaluation.validation_every", 7, "must be a multiple of tasks.digits-8.evaluation.test_every"),
        ("tasks.digits-8.evaluation.checkpoint_every", 5, "checkpoint_every (=5) writes folders of Hugging Face"),
        (
            "tasks.digits-8.model",
            {"name": "gpt2", "options": {"layers": 1, "width": 8, "heads": 2}},
            "tasks.digits-8.model.name (=gpt2) is for language data, and these are vision data; use convnet, timm",
        ),
        (
            "tasks.pydoc-2-16.model",
            {"name": "mlp", "options": {"hidden": [8]}},
            "is for vision and table data, and these are language data; use gpt2, llama, transformers or one of your",
        ),
        ("tasks.digits-8.recipe.optimizer", "torch.optim:LBFGS", "(=torch.optim:LBFGS): its step needs 'closure'"),
        ("tasks.digits-8.target.value", 101, "is an accuracy in percent: at most 100"),
        ("tasks.pydoc-2-16.model.options.heads", 3, "must be a multiple of tasks.pydoc-2-16.model.options.heads (=3)"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(config: dict[str, Any], key: str, value: Any, says: str) -> None:
    resolve(copy.deepcopy(config))
    put(config, key, value)
    assert says in complaint(config)


def test_off_is_the_word_that_yaml_reads_as_no(config: dict[str, Any]) -> None:
    config["metatrain"]["recipe"] |= yaml.safe_load("amp: off")
    config["metatrain"]["nowcasters"]["wnn+"] |= yaml.safe_load("amp: auto")
    run = resolve(config)
    assert [run.nowcasters[name].metatrain.amp for name in ("nino", "wnn+")] == ["off", "auto"]


def test_an_overlay_s_method_that_its_rows_leave_out_is_refused(config: dict[str, Any], tmp_path: Path) -> None:
    def refused(*overlays: str) -> str:
        files = [tmp_path / f"{i}.yaml" for i in range(len(overlays))]
        merged = copy.deepcopy(config)
        for file, text in zip(files, overlays, strict=True):
            file.write_text(f"evaluate: {text}", encoding="utf-8")
            merged = merge(merged, read(file))
        try:
            resolve(merged, files)
        except ConfigError as error:
            return str(error)
        return ""

    mine = "{methods: {mine: {nowcaster: identity}}, rows: [base, %s]}"
    assert refused(mine % "mine") == "" and refused("{rows: [base]}") == ""
    assert refused(mine % "linear") == (
        "evaluate.methods.mine: not one of evaluate.rows (=base, linear), so it would not be run; list it there, or "
        "leave it out here"
    )
    assert "evaluate.methods.mine" in refused("{rows: [base]}", "{methods: {mine: {nowcaster: identity}}}")
    assert "evaluate.methods.linear" in refused("{rows: [base]}", "{methods: {linear: {label: a line}}}")
    assert refused(mine % "mine", "{rows: [base, linear]}") == ""  # a choice among the rows of another overlay
    assert refused("{methods: {linear: null}, rows: [base]}") == ""


def test_every_problem_is_listed(config: dict[str, Any]) -> None:
    put(config, "run", "a/b")
    put(config, "evaluate.seeds", [1, 1])
    put(config, "tasks.digits-8.recipe.lr", 0)
    assert len(complaint(config).splitlines()) == 3


def test_defaults_are_filled_in(config: dict[str, Any]) -> None:
    run = resolve(config)
    assert run.schedule.context == 5 and run.schedule.power == 2.0
    assert run.nowcasters["nino"].metatrain.lr == 3e-3
    assert run.tasks["digits-8"].evaluation.at_nowcast == "after"
    assert run.report.resamples == 10_000


def test_a_nowcaster_overrides_the_recipe(config: dict[str, Any]) -> None:
    run = resolve(config)
    assert run.nowcasters["wnn+"].metatrain.lr == 0.001
    assert run.nowcasters["wnn+"].metatrain.window_stride == 4


def test_how_many_networks_is_told_to_the_fits_that_say_so_and_to_no_other(config: dict[str, Any]) -> None:
    config["metatrain"]["nowcasters"]["wnn+"]["models"] = 3
    told = {path: unit.to_dict() for path, unit in units(resolve(config)) if "/metatrain/" in path}
    assert [each["metatrain"].get("models", "all") for each in told.values()] == ["all"]
    config["evaluate"]["methods"]["wnn+"] = {"nowcaster": "metatrained", "source": "wnn+"}
    told = {path: unit.to_dict() for path, unit in units(resolve(config)) if "/metatrain/" in path}
    assert sorted(str(each["metatrain"].get("models", "all")) for each in told.values()) == ["3", "all"]


def test_only_what_methods_need_is_fitted_and_collected(config: dict[str, Any]) -> None:
    run = resolve(config)
    assert run.fitted == ("nino",) and run.collected == ("digits-8",)
    del config["evaluate"]["methods"]["nino"]
    run = resolve(config)
    assert run.fitted == () and run.collected == () and run.used == ("digits-8", "pydoc-2-16")


def test_shards_hold_every_model(config: dict[str, Any]) -> None:
    assert list(resolve(config).shards("digits-8")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("each", "chunks"),
    [(1, ((3000,), (1000,), (2000,))), (2, ((3000, 1000), (2000,))), (9, ((3000, 1000, 2000),))],
)
def test_jobs_hold_every_seed_once(config: dict[str, Any], each: int, chunks: Any) -> None:
    config["evaluate"]["seeds"] = [3000, 1000, 2000]
    assert {job.seeds for job in resolve(config).jobs} == {(3000,), (1000,), (2000,)}
    config["evaluate"] |= {"seeds_per_job": each, "members_per_job": 2}
    run = resolve(config)
    assert run.jobs[: len(chunks)] == tuple(EvaluationJob(run.evaluated, ("base",), chunk) for chunk in chunks)
    assert run.members_per_job == 2


def test_jobs_of_several_methods_hold_every_run_once(config: dict[str, Any]) -> None:
    """Those that wait for a fit are apart, and a task is in a job of just the methods that it is trained with."""
    first, *others = config["evaluate"]["tasks"]
    config["evaluate"]["methods"]["linear"]["tasks"] = [first]
    alone = resolve(config)
    assert {len(job) for job in alone.jobs} == {1}
    config["evaluate"] |= {"methods_per_job": 9, "seeds_per_job": 9}
    run = resolve(config)
    expected = [((first,), ("base", "linear")), ((first, *others), ("nino",)), (tuple(others), ("base",))]
    assert [(job.tasks, job.methods) for job in run.jobs] == expected
    for each in (alone, run):
        made = [(task, *pair) for job in each.jobs for task in job.tasks for pair in job.runs]
        assert sorted(made) == sorted(run.evaluations)


def test_null_in_an_overlay_removes_a_method(config: dict[str, Any]) -> None:
    config["evaluate"]["methods"]["linear"] = None
    assert list(resolve(config).methods) == ["base", "nino"]


def test_a_method_that_is_not_listed_is_out(config: dict[str, Any]) -> None:
    put(config, "evaluate.rows", ["base", "linear"])
    run = resolve(config)
    assert list(run.methods) == ["base", "linear"] == [method.name for method in run.report.methods]
    assert {method for _, method, _ in run.evaluations} == {"base", "linear"}
    assert run.fitted == run.collected == run.report.trained_on == ()
    assert not any("nino" in path for path, _ in units(run))
    assert "nino" not in run.config["evaluate"]["methods"] and "rows" not in run.config["evaluate"]
    put(config, "metatrain.nowcasters.nino", None)  # what only it would need may be missing
    assert resolve(config).methods == run.methods


def test_rows_stand_in_the_order_of_their_list(config: dict[str, Any]) -> None:
    put(config, "evaluate.rows", ["nino", "base"])
    run = resolve(config)
    assert list(run.methods) == ["nino", "base"] == [method.name for method in run.report.methods]


def test_null_takes_a_listed_row_away_and_for_the_list_is_all_rows(config: dict[str, Any]) -> None:
    put(config, "evaluate.rows", ["base", "linear", "nino"])
    put(config, "evaluate.methods.nino", None)
    assert list(resolve(config).methods) == ["base", "linear"]
    put(config, "evaluate.rows", None)
    assert list(resolve(config).methods) == ["base", "linear"]


def test_a_list_of_rows_and_nulls_for_the_others_are_the_same_run(tmp_path: Path) -> None:
    own = "half: {nowcaster: linear, options: {update_scale: 0.5}}"
    gone = ("identity", "random", "oracle", "wnn+", "wnn", "wnn+-released", "nino-released", "l2o")
    nulls = ", ".join(f"{name}: null" for name in gone)
    made = []
    for text in (f"rows: [base, linear, nino, half], methods: {{{own}}}", f"methods: {{{nulls}, {own}}}"):
        overlay = tmp_path / "overlay.yaml"
        overlay.write_text(f"run: other\nevaluate: {{{text}}}\n")
        made.append(resolve(load([overlay], ROOT / "config.yaml")))
    listed, nulled = made
    assert listed == nulled and list(listed.methods) == list(nulled.methods) == ["base", "linear", "nino", "half"]
    assert json.dumps(listed.config) == json.dumps(nulled.config)  # the file of the run, letter by letter
    assert [(path, unit.to_dict()) for path, unit in units(listed)] == [(p, u.to_dict()) for p, u in units(nulled)]


def test_overlays_with_a_list_of_rows_are_told_to_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    overlay = Path("workflow/configs/cpu.yaml")
    assert resolve(load([overlay]), [overlay]).report.overlays == (overlay.as_posix(),)


def test_weights_of_a_method(config: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    file.touch()
    config["evaluate"]["methods"]["own"] = {"nowcaster": "checkpoint", "path": str(file)}
    config["evaluate"]["methods"]["known"] = {"nowcaster": "checkpoint", "path": "nino"}
    run = resolve(config)
    assert run.weights("nino") == ["results/small/metatrain/nino/best.safetensors"]
    assert run.weights("own") == [str(file)]
    assert run.weights("known") == run.weights("base") == []


def test_the_rows_of_the_paper_s_run() -> None:
    """Own fits and published weights, L2O on the vision tasks; the smoke run needs no network."""
    run = resolve(load([], ROOT / "config.yaml"))
    assert list(run.methods) == [
        "base", "identity", "random", "oracle", "linear", "wnn+", "nino",
        "wnn", "wnn+-released", "nino-released", "l2o",
    ]  # fmt: skip
    assert run.fitted == ("wnn+", "nino") and run.learned == ("l2o",)
    published = {name: method.path for name, method in run.methods.items() if method.nowcaster == "checkpoint"}
    assert published == {"wnn": "wnn", "wnn+-released": "nino_mlp", "nino-released": "nino_no_posw"}
    assert set(published.values()) <= set(KNOWN)
    assert set(run.report.only) == {"l2o"} and all("-16" in t or "-32" in t for t in run.report.only["l2o"])
    smoke = resolve(load([ROOT / "workflow" / "configs" / "smoke.yaml"], ROOT / "config.yaml"))
    assert list(smoke.methods) == ["base", "identity", "random", "oracle", "linear", "wnn+", "nino"]
    assert not smoke.learned


def test_committed_configs_resolve() -> None:
    assert resolve(load([], ROOT / "config.yaml")).run == "paper"
    for overlay in (ROOT / "workflow" / "configs").rglob("*.yaml"):
        assert resolve(load([overlay], ROOT / "config.yaml")).evaluated


def test_a_method_may_be_planned_on_some_tasks(config: dict[str, Any]) -> None:
    whole = resolve(config)
    put(config, "evaluate.methods.linear.tasks", ["digits-8"])
    put(config, "report.notes", {"digits-8": "small images"})
    run = resolve(config)
    assert set(whole.evaluations) - set(run.evaluations) == {("pydoc-2-16", "linear", seed) for seed in (1000, 2000)}
    assert run.methods == whole.methods  # what a run is told is the same
    assert run.report.remarks() == ("digits-8: small images",)
    specs = {name: unit.to_dict() for name, unit in units(run)}
    for name, unit in units(whole):
        if "/evaluate/" in name:
            assert specs.get(name, unit.to_dict()) == unit.to_dict()
    assert Layout("small").evaluation_spec("pydoc-2-16", "linear") not in specs


def test_published_weights_bring_the_tasks_they_were_fitted_to() -> None:
    run = resolve(load([ROOT / "workflow" / "configs" / "cpu.yaml"], ROOT / "config.yaml"))
    assert not run.fitted
    assert run.report.trained_on == ("fm-16", "c10-16", "lm1b-3-24", "lm1b-2-32")
