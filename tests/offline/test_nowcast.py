"""One nowcast from the checkpoints of a run: every format, what it refuses, and a training that resumes from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nino.graphs import neural_graph
from nino.graphs.registry import family_graph
from nino.nowcasters import Identity, LineFit, build_nowcaster
from nino.offline import last_of, step
from nino.offline.checkpoints import Checkpoint
from nino.offline.network import outline
from nino.optim import horizons
from nino.tasks.torchvision_ops import declare_missing_operators
from tests.optim.helpers import Line

EVERY = 20


def model_of(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def train(save, steps=(20, 40, 60, 80, 100), model=None):
    """A real training that calls ``save(model, optimizer, step)`` now and then; gives the saved states."""
    model = model or model_of()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    states = []
    for n in range(1, max(steps) + 1):
        x = torch.randn(32, 6, generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), (x.sum(1) > 0).long()).backward()
        optimizer.step()
        if n in steps:
            save(model, optimizer, n)
            states.append(torch.cat([p.detach().float().flatten().clone() for p in model.parameters()]))
    return torch.stack(states, 1)


def expected(states, k):
    """The line fit, written out."""
    c = states.shape[1]
    j = torch.arange(c, dtype=torch.float64)
    slope = ((j - j.mean()) * states.double()).sum(1) / ((j - j.mean()) ** 2).sum()
    return states.double().mean(1) + slope * (c - 1 + k - j.mean())


def flat(tensors, model):
    return torch.cat([tensors[name].detach().double().flatten() for name, _ in model.named_parameters()])


def plain(folder):
    return lambda model, optimizer, n: torch.save(model.state_dict(), folder / f"step_{n:06}.pt")


def nested(folder):
    def save(model, optimizer, n):
        average = {key: torch.zeros_like(value) for key, value in model.state_dict().items()}
        content = {"ema": average, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": n}
        torch.save(content, folder / f"ckpt-{n}.pt")

    return save


def compiled(folder):
    def save(model, optimizer, n):
        torch.save({f"_orig_mod.{key}": value for key, value in model.state_dict().items()}, folder / f"c{n}.pth")

    return save


def safetensors(folder):
    return lambda model, optimizer, n: save_file(
        dict(model.state_dict()), folder / f"model-{n}.safetensors", metadata={"run": "7"}
    )


@pytest.mark.parametrize("form", [plain, nested, compiled, safetensors])
def test_files_of_every_kind(tmp_path, form):
    states = train(form(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = step(tmp_path, LineFit(), 4, model=model_of(seed=5))
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert done.steps == (20, 40, 60, 80, 100) and done.k == 4 and done.seconds > 0
    assert done.path == tmp_path / "nowcast" / newest(before).name
    content = load_file(done.path) if form is safetensors else torch.load(done.path, weights_only=True)
    tensors = content["model"] if form is nested else {k.removeprefix("_orig_mod."): v for k, v in content.items()}
    goal = expected(states, 4)
    assert torch.allclose(flat(tensors, model_of()), goal, rtol=1e-5, atol=1e-6)
    assert done.norm == pytest.approx(float((goal - states[:, -1]).norm()), rel=1e-4)
    model = model_of()
    model.load_state_dict(tensors)  # buffers and all
    if form is nested:
        assert content["step"] == 100 and not any(v.any() for v in content["ema"].values())
        torch.optim.AdamW(model.parameters()).load_state_dict(content["optimizer"])
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors.values() if form is not safetensors)


def newest(before: dict[Path, bytes]) -> Path:
    """The newest checkpoint by the number in its name."""
    return max(before, key=lambda path: int("".join(c for c in path.stem if c.isdigit())))


def test_only_the_last_five_are_read_and_others_may_lie_beside_them(tmp_path):
    states = train(plain(tmp_path), (3, 20, 40, 60, 80, 100))
    (tmp_path / "best.pt").write_bytes(b"")
    (tmp_path / ".step_000120.pt.77.part").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("step 7")
    done = step(tmp_path, LineFit(), model=model_of(), max_train_steps=200, spacing=20)
    assert done.steps == (20, 40, 60, 80, 100) and done.k == 40
    assert torch.allclose(flat(torch.load(done.path), model_of()), expected(states[:, 1:], 40), rtol=1e-4, atol=1e-5)
    with pytest.raises(FileExistsError, match="exists already"):
        step(tmp_path, LineFit(), 1, model=model_of())
    schedule = {"max_train_steps": 200, "period": 50, "max_horizon": 9}
    for power, k in ((2.0, 5), (0.0, 9)):  # the second of four nowcasts: 9 5 3 1
        out = tmp_path / f"other-{power}"
        found = step(tmp_path, LineFit(), model=model_of(), spacing=20, power=power, out=out, **schedule)
        assert found.k == k == horizons(200, 50, 9, power)[1]


def test_scale_zero_is_the_last_checkpoint_and_frozen_parameters_stay(tmp_path):
    model = model_of()
    model[0].weight.requires_grad_(False)
    train(plain(tmp_path), model=model)
    last = torch.load(tmp_path / "step_000100.pt")

    class Shift(LineFit):
        def update(self, states, k, parameter):
            return states.new_ones(states.shape[0])

    moved = torch.load(step(tmp_path, Shift(), 3, model=model_of()).path)
    assert torch.equal(moved["0.weight"], last["0.weight"]) and torch.allclose(moved["3.bias"], last["3.bias"] + 1)
    assert torch.equal(moved["1.running_mean"], last["1.running_mean"])
    still = torch.load(step(tmp_path, Shift(), 3, model=model_of(), update_scale=0.0, out=tmp_path / "still.pt").path)
    assert all(torch.equal(still[name], last[name]) for name in last)


def test_bf16_checkpoints_are_rounded_once(tmp_path):
    rounded = []

    def save(model, optimizer, n):
        state = {key: v.bfloat16() if v.is_floating_point() else v for key, v in model.state_dict().items()}
        rounded.append(torch.cat([state[name].float().flatten() for name, _ in model.named_parameters()]))
        torch.save(state, tmp_path / f"{n}.pt")

    train(save)
    tensors = torch.load(step(tmp_path, LineFit(), 2, model=model_of()).path)
    assert tensors["0.weight"].dtype == torch.bfloat16
    goal = expected(torch.stack(rounded, 1), 2).to(torch.bfloat16)
    assert torch.equal(flat(tensors, model_of()), goal.double())


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((20, 40, 60, 100), "only 4 checkpoints .*20, 40, 60, 100.*reads 5"),
        ((20, 40, 60, 100, 120), "step_000060.pt and step_000100.pt are 40 steps apart, but 20 are expected"),
        ((20, 40, 60, 80, 90), "are 20 steps apart, but 10 are expected"),
    ],
)
def test_gaps_are_refused_by_name(tmp_path, steps, said):
    train(plain(tmp_path), steps)
    with pytest.raises(ValueError, match=said):
        step(tmp_path, LineFit(), 1, model=model_of())


def test_a_spacing_other_than_asked_for_is_refused(tmp_path):
    train(plain(tmp_path))
    with pytest.raises(ValueError, match="20 steps apart, but 200 are expected"):
        step(tmp_path, LineFit(), 1, model=model_of(), spacing=200)


def test_bad_checkpoints_are_refused_by_name_and_nothing_is_written(tmp_path):
    train(plain(tmp_path))
    target = tmp_path / "step_000060.pt"
    whole = target.read_bytes()
    other = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2))
    diverged = torch.load(target)
    diverged["3.bias"][0] = torch.nan
    for spoil, said in [
        (lambda: target.write_bytes(whole[: len(whole) // 2]), "step_000060.pt cannot be read .*half-written"),
        (lambda: target.write_bytes(b""), "step_000060.pt cannot be read .*half-written"),
        (lambda: torch.save(other.state_dict(), target), "step_000060.pt and .*step_000100.pt are of different models"),
        (lambda: torch.save({"weights": Path("x")}, target), "step_000060.pt cannot be read"),
        (lambda: torch.save(diverged, target), "NaN or infinity in parameter '3.bias'"),
    ]:
        spoil()
        with pytest.raises(ValueError, match=said):
            step(tmp_path, LineFit(), 1, model=model_of())
    target.write_bytes(whole)
    with pytest.raises(ValueError, match=r"\(8, 6\), but the model has floating point of shape \(9, 6\)"):
        step(tmp_path, LineFit(), 1, model=other)
    with pytest.raises(ValueError, match="lacks parameter '4.weight'"):
        step(tmp_path, LineFit(), 1, model=nn.Sequential(*model_of(), nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="no config.json.*pass `model`"):
        step(tmp_path, LineFit(), 1)
    with pytest.raises(ValueError, match=r"either `k` \(=None\) or `max_train_steps` \(=None\)"):
        step(tmp_path, LineFit(), model=model_of())
    with pytest.raises(ValueError, match="nowcast of parameter '0.weight' is not finite"):
        step(tmp_path, LineFit(), 1, model=model_of(), update_scale=1e39)
    for scale in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"`update_scale` \(=(nan|inf)\) must be a finite number"):
            step(tmp_path, LineFit(), 1, model=model_of(), update_scale=scale)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"step_{n:06}.pt" for n in range(20, 101, 20)]


def test_folders_without_checkpoints_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        step(tmp_path / "no", LineFit(), 1)
    with pytest.raises(FileNotFoundError, match="no checkpoints in"):
        step(tmp_path, LineFit(), 1)
    for name in ("model-1.pt", "optimizer-1.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"several kinds of names, model-\*.pt, optimizer-\*.pt"):
        step(tmp_path, LineFit(), 1)
    for name in ("model-01.pt", "model-001.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="have the same step 1"):
        step(tmp_path, LineFit(), 1, pattern="model-*.pt")


def test_one_state_needs_no_spacing():
    assert last_of([(7, Path("7.pt"))], 1, None) == [(7, Path("7.pt"))]


@pytest.mark.parametrize("shard", [None, "12KB"])
def test_hugging_face_folders_whole_and_sharded(tmp_path, shard):
    declare_missing_operators()
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    options = {} if shard is None else {"max_shard_size": shard}
    states = []
    for n in range(1, 6):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.01 * torch.randn_like(p))
        folder = tmp_path / f"checkpoint-{n * 100}"
        model.save_pretrained(folder, **options)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": n * 100}))
        states.append(torch.cat([p.detach().flatten().clone() for p in model.parameters()]))
    done = step(tmp_path, LineFit(), 3)
    assert done.path == tmp_path / "nowcast" / "checkpoint-500"
    assert sorted(os.listdir(done.path)) == sorted(os.listdir(folder))
    assert (len(list(done.path.glob("*.safetensors"))) > 1) == (shard is not None)
    assert json.loads((done.path / "trainer_state.json").read_text()) == {"global_step": 500}
    loaded = transformers.GPT2LMHeadModel.from_pretrained(done.path)
    got = torch.cat([p.detach().flatten() for p in loaded.parameters()])
    assert torch.allclose(got.double(), expected(torch.stack(states, 1), 3), rtol=1e-4, atol=1e-5)
    assert loaded.lm_head.weight is loaded.transformer.wte.weight

    victim = sorted((tmp_path / "checkpoint-300").glob("*.safetensors"))[0]
    victim.unlink()
    with pytest.raises(ValueError, match="checkpoint-300 is half-written"):
        step(tmp_path, LineFit(), 3, out=tmp_path / "other")
    assert not (tmp_path / "other").exists() and not list(tmp_path.glob(".*"))


def test_an_index_that_is_cut_short_is_refused(tmp_path):
    for n in range(1, 6):
        (tmp_path / f"checkpoint-{n}").mkdir()
        (tmp_path / f"checkpoint-{n}" / "model.safetensors.index.json").write_text('{"weight_')
    with pytest.raises(ValueError, match="checkpoint-1/model.safetensors.index.json is half-written"):
        step(tmp_path, LineFit(), 1)


def test_a_network_reads_the_files_as_it_reads_a_tensor(tmp_path):
    states = train(plain(tmp_path))
    torch.manual_seed(0)
    net = build_nowcaster("nino", hidden=16, word_positions=0)
    done = step(tmp_path, net, 7, model=model_of())
    prediction = net.predict(neural_graph(model_of()), states, 7)
    assert torch.equal(flat(torch.load(done.path), model_of()).float(), prediction.detach())


@pytest.mark.usefixtures("unchecked")
def test_nowcasters_that_know_tensors_only(tmp_path):
    states = train(plain(tmp_path))
    done = step(tmp_path, Line(), 3, model=model_of(), context=5)
    goal = states[:, -1] + 3 * (states[:, -1] - states[:, -2])
    assert torch.allclose(flat(torch.load(done.path), model_of()).float(), goal, rtol=1e-5, atol=1e-6)


def test_checkpoints_named_one_by_one_need_no_numbers(tmp_path):
    """As where a training overwrites one file, of which somebody keeps copies."""
    folders = [tmp_path / name for name in ("first", "second", "third")]
    states, paths = [], []
    for n, folder in enumerate(folders):
        folder.mkdir()
        states.append(train(plain(folder), (n + 1,))[:, 0])
        paths.append((folder / f"step_{n + 1:06}.pt").rename(folder / "ckpt.pt"))
    done = step(paths, LineFit(), 2, model=model_of())
    assert done.path == tmp_path / "third" / "nowcast" / "ckpt.pt" and done.steps == (1, 2, 3)
    goal = expected(torch.stack(states, 1), 2)
    assert torch.allclose(flat(torch.load(done.path), model_of()), goal, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="named twice"):
        step([paths[0], paths[1], paths[0]], LineFit(), 1, model=model_of())
    with pytest.raises(ValueError, match="1 checkpoints are named, but a nowcast reads at least 2"):
        step(paths[:1], LineFit(), 1, model=model_of())
    numbered = [path.rename(path.with_name(f"{n}.pt")) for n, path in zip((20, 40, 80), paths, strict=True)]
    with pytest.raises(ValueError, match="are 20 steps apart, but 40 are expected"):
        step(numbered, LineFit(), 1, model=model_of())


@pytest.mark.parametrize("family", ["GPT2", "Llama"])
@pytest.mark.parametrize("headless", [False, True])
def test_an_outline_has_the_graph_of_the_model(tmp_path, family, headless):
    """It stands for the model where that is declared, so that transformers' modelling code need not be imported."""
    declare_missing_operators()
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 40, "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4}
    if family == "Llama":
        sizes |= {"num_key_value_heads": 2, "intermediate_size": 24}
    config = getattr(transformers, f"{family}Config")(**sizes, bos_token_id=0, eos_token_id=0)
    model = getattr(
        transformers, f"{family}{'Model' if headless else ('LMHeadModel' if family == 'GPT2' else 'ForCausalLM')}"
    )
    model(config).save_pretrained(tmp_path)
    sketch = outline(Checkpoint.open(tmp_path, 1))
    if family == "Llama":
        assert family_graph(config.model_type, sketch, "exact") is None  # it is recorded, which takes the model itself
    for topology in ("released", "exact") if family == "GPT2" else ("released",):
        graph = family_graph(config.model_type, sketch, topology)
        real = neural_graph(model(config), topology)
        assert graph is not None and graph.groups == real.groups and graph.num_nodes == real.num_nodes
        assert {p.name: p.shape for p in graph.parameters} == {p.name: p.shape for p in real.parameters}

        def places(of):
            start = {p.name: p.offset for p in of.parameters}
            return [
                (b.name, b.source, b.target, b.edge_type, b.features, b.weight and b.weight.offset - start[b.name])
                for b in of.blocks
            ]

        assert places(graph) == places(real)


def test_a_training_goes_on_from_the_file(tmp_path):
    """The identity nowcast's file and the checkpoint it was made from give the same training."""
    train(nested(tmp_path))
    done = step(tmp_path, Identity(), 1, model=model_of(), context=5)

    def go_on(path):
        content = torch.load(path, weights_only=True)
        model = model_of()
        model.load_state_dict(content["model"])
        optimizer = torch.optim.AdamW(model.parameters())
        optimizer.load_state_dict(content["optimizer"])
        for n in range(content["step"], content["step"] + 10):
            optimizer.zero_grad()
            model(torch.full((4, 6), n / 100.0) + torch.eye(4, 6)).square().mean().backward()
            optimizer.step()
        return flat(model.state_dict(), model)

    assert torch.equal(go_on(done.path), go_on(tmp_path / "ckpt-100.pt"))


def test_equal_checkpoints_give_the_same_once_more(tmp_path):
    model = torch.nn.Linear(4, 3)
    for number in (10, 20, 30, 40, 50):
        torch.save(model.state_dict(), tmp_path / f"step_{number}.pt")
    done = step(tmp_path, LineFit(), 3, model=model)
    written = torch.load(done.path)
    assert done.norm == 0 and all(torch.equal(written[name], value) for name, value in model.state_dict().items())
