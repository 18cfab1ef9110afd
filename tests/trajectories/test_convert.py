import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from nino.cli import app, main
from nino.metatrain import metatrain, open_sources
from nino.specs import MetatrainSpec, TrajectorySpec
from nino.tasks import load_task
from nino.trajectories import TrajectoryFileError, TrajectoryReader
from nino.trajectories import convert as module
from nino.trajectories.convert import convert_states, open_source
from nino.trajectories.format import Header

ROOT = Path(__file__).resolve().parents[2]
MODELS, STATES = 5, 6
SHAPES = [("weight", (3, 5)), ("bias", (5,))]
SPEC = TrajectorySpec(models=MODELS, models_per_shard=2, state_every=10, first_seed=100)


def released(parameters: int = 20, states: int = STATES, models: int = MODELS) -> NDArray[np.float16]:
    """Every kind of finite float16: negative zero, subnormals, the largest."""
    values = np.random.default_rng(0).normal(size=(models, states, parameters)).astype(np.float16)
    values[:, :, :4] = np.array([-0.0, 6e-8, 65504, -65504], np.float16)
    return values


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def raw(values: NDArray[np.generic], name: str = "fm-16.dat") -> Path:
        (tmp_path / name).write_bytes(values.tobytes())
        return tmp_path / name

    return raw


def run(source: Path, header: Header, out: Path, spec: TrajectorySpec = SPEC, metrics: Path | None = None) -> None:
    convert_states(open_source(source, spec.models, 20, metrics), header.task, spec, SHAPES, out, progress=False)


@pytest.mark.parametrize("headed", [False, True])
def test_every_bit_survives(headed: bool, write: Callable[..., Path], header: Header, tmp_path: Path) -> None:
    values = released()
    source = write(values)
    if headed:
        np.save(tmp_path / "fm-16.npy", values)
        source = tmp_path / "fm-16.npy"
    table = np.random.default_rng(1).random((MODELS, STATES)).astype(np.float32)
    table[:, 1] = np.nan
    np.savez(tmp_path / "metrics.npz", train_loss=table, test=100 * table)
    run(source, header, tmp_path / "fm-16.h5", metrics=tmp_path / "metrics.npz")
    reader = TrajectoryReader(tmp_path / "fm-16.h5")
    assert len(reader) == MODELS and reader.seeds.tolist() == [100, 101, 102, 103, 104]
    assert reader.steps.tolist() == [0, 10, 20, 30, 40, 50] and not reader.diverged.any()
    for i in range(MODELS):
        assert reader.states(i, range(STATES)).tobytes() == values[i].tobytes()
    assert np.array_equal(reader.metrics["train_loss"], table, equal_nan=True)
    assert np.array_equal(reader.metrics["test"], 100 * table, equal_nan=True)
    assert np.isnan(reader.metrics["validation"]).all()
    assert reader.header.data_checksum == f"unknown, converted from {source.name}"
    assert [p.name for p in reader.parameters] == ["weight", "bias"] and not reader.verify(progress=False)


def test_a_diverged_network_ends_where_it_did(write: Callable[..., Path], header: Header, tmp_path: Path) -> None:
    values = released()
    values[1, 3, 7] = np.nan
    values[3, 4:] = 0
    values[4, 5, 0] = np.inf
    run(write(values), header, tmp_path / "out.h5")
    reader = TrajectoryReader(tmp_path / "out.h5")
    assert reader.valid.tolist() == [6, 3, 6, 4, 5]
    assert reader.states(1, range(3)).tobytes() == values[1, :3].tobytes()


def test_a_killed_conversion_goes_on(
    write: Callable[..., Path], header: Header, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, times = write(released()), tmp_path / "out.h5", []
    whole = module._write

    def killed(*arguments: object) -> None:
        times.append(arguments)
        if len(times) == 2:
            raise KeyboardInterrupt
        whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        run(source, header, out)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shard=0.h5"] and not out.exists()
    run(source, header, out)
    assert len(times) == 4  # the first shard is not written again
    run(source, header, out)
    assert len(times) == 4
    assert TrajectoryReader(out).states(4, range(STATES)).tobytes() == released()[4].tobytes()


def test_files_of_another_size_shape_or_type_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    values = released()

    def refused(path: Path, says: str, models: int = MODELS, parameters: int = 20, metrics: Path | None = None) -> None:
        with pytest.raises(TrajectoryFileError, match=says) as error:
            open_source(path, models, parameters, metrics)
        assert str(error.value).startswith(f"{metrics or path}: ")

    refused(tmp_path / "gone.dat", "no such file")
    path = write(values)
    refused(
        path, r"1,200 bytes are no whole number of states of 5 models of 21 parameters in float16 \(210 bytes", 5, 21
    )
    refused(write(values.ravel()[:-1], "cut.dat"), "1,198 bytes are no whole number of states")
    refused(write(np.zeros(0), "empty.dat"), "0 bytes are no whole number")
    single = np.random.default_rng(0).normal(size=(MODELS, STATES, 2000)).astype(np.float32)
    refused(write(single, "f32.dat"), "first state is not that of a network", parameters=2000)
    refused(write(np.zeros_like(values), "zeros.dat"), "first state is not that of a network")
    np.save(tmp_path / "f32.npy", values.astype(np.float32))
    refused(tmp_path / "f32.npy", r"holds float32 \(5, 6, 20\), expected float16 \(models, states, parameters\)")
    np.save(tmp_path / "flat.npy", values.reshape(5, -1))
    refused(tmp_path / "flat.npy", r"holds float16 \(5, 120\)")
    np.save(tmp_path / "six.npy", values)
    refused(tmp_path / "six.npy", r"holds \(5, 6, 20\), expected 6 models and 20 parameters a state", 6)
    metrics = tmp_path / "m.npz"
    np.savez(metrics, train_loss=np.zeros((5, 7)))
    refused(path, r"train_loss is float64 \(5, 7\), expected floats \(5, 6\)", metrics=metrics)
    np.savez(metrics, loss=np.zeros((5, 6)))
    refused(path, "holds 'loss'; metrics are train_loss, validation, test", metrics=metrics)
    metrics.write_text("no archive")
    refused(path, "not a readable .npz file of metrics", metrics=metrics)


def test_a_spec_that_does_not_fit_is_refused(write: Callable[..., Path], header: Header, tmp_path: Path) -> None:
    source = open_source(write(released()), MODELS, 20)
    with pytest.raises(ValueError, match=r"`steps` \(=70\) with `state_every` \(=10\) must give the 6 states .* to 50"):
        convert_states(source, header.task, replace(SPEC, steps=70), SHAPES, tmp_path / "out.h5", progress=False)
    with pytest.raises(ValueError, match=r"`models` \(=4\) must be the 5 of"):
        convert_states(source, header.task, replace(SPEC, models=4), SHAPES, tmp_path / "out.h5", progress=False)
    run(source.path, header, tmp_path / "out.h5")
    with pytest.raises(TrajectoryFileError, match=r"shard=0.h5: of another conversion"):
        run(source.path, header, tmp_path / "out.h5", replace(SPEC, state_every=5))


def test_what_was_converted_can_be_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, on the tiny run's task: the data set is where the fit looks for it."""
    from nino.config.load import load
    from nino.config.resolve import resolve

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app.logging, "basicConfig", lambda **_: None)
    for name in ("config.yaml", "tests/workflow/tiny.yaml"):
        (tmp_path / Path(name).name).write_text((ROOT / name).read_text())
    tiny = resolve(load([Path("tiny.yaml")]))
    parameters = load_task(tiny.tasks["digits-2"]).num_parameters()
    values = released(parameters, states=21, models=3)
    values[:, :, :4] = 0.1
    (tmp_path / "digits.dat").write_bytes(values.tobytes())
    monkeypatch.setattr("sys.argv", ["nino", "convert", "digits.dat", "--config", "tiny.yaml", "--task", "digits-2"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    path = Path("results/tiny/trajectories/digits-2.h5")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["trajectory_spec"])["steps"] == 40
    fit: MetatrainSpec = tiny.nowcasters["nino"].metatrain
    assert metatrain(fit, open_sources({"digits-2": path}), tmp_path / "fit", progress=False).iterations == 6
