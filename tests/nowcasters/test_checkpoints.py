"""Checkpoints: released files as they are, our own, by name; and every way a file can be wrong."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nino.graphs import neural_graph
from nino.nowcasters import KNOWN, WNN, NiNoNet, Nowcaster, WNNPlus, download, load_nowcaster, save_nowcaster
from tests.nowcasters.helpers import MODELS, history, lively


def pickled(net: NiNoNet | WNNPlus, path: Path, **args: object) -> Path:
    torch.save({"state_dict": net.state_dict(), "model_args": args}, path)
    return path


@pytest.mark.parametrize(
    "net",
    [
        NiNoNet(hidden=8, layers=2, context=4, max_horizon=6, max_features=4, lpe=3, word_positions=5, edge_types=16),
        WNNPlus(hidden=4, context=3, max_horizon=7, edge_types=15),
        WNN(seed=3),
    ],
    ids=lambda net: type(net).__name__,
)
def test_saved_and_loaded(net: NiNoNet | WNNPlus | WNN, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "net.safetensors"
    save_nowcaster(net, path, {"run": "7"})
    again = load_nowcaster(str(path))
    assert type(again) is type(net) and again.config == net.config
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["run"] == "7"
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"]
    with pytest.raises(ValueError, match="must not use the key 'nino'"):
        save_nowcaster(net, path, {"nino": "x"})


def damages(data: bytes, count: int) -> Iterator[bytes]:
    """Copies with a bit flipped, or a block of zeros, in places all over."""
    places = np.random.default_rng(0).choice(len(data) - 64, count, replace=False)
    for number, place in enumerate(places.tolist()):
        size = 64 if number % 2 else 1
        other = bytes(size) if number % 2 else bytes([data[place] ^ 1 << number % 8])
        yield data[:place] + other + data[place + size :]


@pytest.mark.parametrize("save", ["ours", "released"])
def test_damaged_weights_are_never_loaded(tmp_path: Path, save: str) -> None:
    net = NiNoNet(hidden=8)
    path = tmp_path / ("net.safetensors" if save == "ours" else "net.pt")
    if save == "ours":
        save_nowcaster(net, path, {"run": "7"})
    else:
        pickled(net, path)
    whole, refused = path.read_bytes(), 0
    for data in damages(whole, 112):
        path.write_bytes(data)
        try:
            found = load_nowcaster(path)
        except ValueError as error:
            assert path.name in str(error)
            refused += 1
        else:  # what was damaged is read by nobody
            assert found.config == net.config
            assert all(torch.equal(a, b) for a, b in zip(found.parameters(), net.parameters(), strict=True))
    assert refused > 100


def test_files_without_a_digest_stay_readable(tmp_path: Path) -> None:
    net, path = WNNPlus(hidden=4), tmp_path / "old.safetensors"
    about = {"format": 1, "kind": net.kind, "config": net.config}
    save_file(net.state_dict(), path, metadata={"nino": json.dumps(about)})
    assert load_nowcaster(path).config == net.config
    save_file(net.state_dict(), path, metadata={"nino": json.dumps(about | {"digest": "sha256"})})
    with pytest.raises(ValueError, match="is damaged: its weights are not those that were written"):
        load_nowcaster(path)


@pytest.mark.parametrize("config", [{"hidden": "many"}, {"hidden": -1}, {"code": "1"}, {"hidden": 8, "layers": 0}])
def test_sizes_that_no_network_has(tmp_path: Path, config: dict[str, object]) -> None:
    path = tmp_path / "net.safetensors"
    about = {"format": 1, "kind": "nino", "config": config}
    save_file(NiNoNet(hidden=4).state_dict(), path, metadata={"nino": json.dumps(about)})
    with pytest.raises(ValueError, match="net.safetensors"):
        load_nowcaster(path)


@pytest.mark.shared
@pytest.mark.parametrize(("file", "name"), [("nino_mlp.pt", "nino_mlp.pt"), ("wnn_fc.pt", "NWNN_FC_13.pt")])
def test_a_published_file_is_held_to_its_content_wherever_it_lies(
    file: str, name: str, shared: Path, tmp_path: Path
) -> None:
    for each in (shared / "pretrained").glob("wnn_*.pt"):
        (
            tmp_path / {"wnn_conv.pt": "NWNN_Conv_13.pt", "wnn_bias.pt": "NWNN_Bias_13.pt"}.get(each.name, each.name)
        ).write_bytes(each.read_bytes())
    data = (shared / "pretrained" / file).read_bytes()
    path = tmp_path / name
    path.write_bytes(data)
    assert isinstance(load_nowcaster(path), Nowcaster)
    for other in damages(data, 20):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=rf"{name} has the name of a published file.*copy it again.*rename it"):
            load_nowcaster(path)


@pytest.mark.parametrize(
    "net", [NiNoNet(hidden=8), NiNoNet(hidden=4, word_positions=11), WNNPlus(hidden=16)], ids=lambda n: type(n).__name__
)
def test_released_form_gives_its_sizes(net: NiNoNet | WNNPlus, tmp_path: Path) -> None:
    again = load_nowcaster(pickled(net, tmp_path / "net.pt"))
    assert again.config == net.config
    bare = tmp_path / "bare.pt"
    torch.save(net.state_dict(), bare)
    assert load_nowcaster(bare).config == net.config


def test_the_released_names_and_shapes() -> None:
    shapes = {name: tuple(p.shape) for name, p in NiNoNet(hidden=128, word_positions=50257).named_parameters()}
    assert shapes["wte_pos_enc_layer.weight"] == (50258, 128)
    assert shapes["edge_proj.fc.0.weight"] == (128, 45) and shapes["edge_out.fc.2.weight"] == (360, 128)
    assert shapes["gnn.convs.2.pre_nns.0.0.weight"] == (128, 256) and "gnn.edge_update.2.lin1.weight" not in shapes


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "kind", "parameters"),
    [("nino_no_posw", NiNoNet, 549_992), ("nino_mlp", WNNPlus, 57_384), ("nino_mlp_h32", WNNPlus, 5_160)],
)
def test_released_files(name: str, kind: type[Nowcaster], parameters: int, shared: Path) -> None:
    net = load_nowcaster(shared / "pretrained" / f"{name}.pt")
    assert isinstance(net, kind)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.shared
@pytest.mark.parametrize("name", list(KNOWN))
def test_known_names_come_from_the_cache(
    name: str, shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for published in KNOWN[name]:
        (tmp_path / published.file).write_bytes((shared / "pretrained" / published.file).read_bytes())
    monkeypatch.setenv("NINO_CACHE", str(tmp_path))
    assert isinstance(load_nowcaster(name), Nowcaster)
    assert isinstance(load_nowcaster(f"{name}.pt"), Nowcaster)
    path = tmp_path / KNOWN[name][0].file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"has SHA-256 .*not the published .*remove it"):
        load_nowcaster(name)


def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, digest: str) -> None:
    source = tmp_path / "published.pt"
    source.write_bytes(content)
    monkeypatch.setitem(KNOWN, "here", (download.Published("here.pt", source.as_uri(), digest),))
    monkeypatch.setenv("NINO_CACHE", str(tmp_path / "cache"))


def test_download_is_kept_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = pickled(WNNPlus(hidden=4), tmp_path / "net.pt").read_bytes()
    published(monkeypatch, tmp_path, content, hashlib.sha256(content).hexdigest())
    assert load_nowcaster("here").config["hidden"] == 4
    (tmp_path / "published.pt").unlink()
    assert load_nowcaster("here").config["hidden"] == 4
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["here.pt"]


def test_other_bytes_than_published_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published(monkeypatch, tmp_path, b"tampered", "0" * 64)
    with pytest.raises(ValueError, match="not the published 0000"):
        load_nowcaster("here")
    assert not list((tmp_path / "cache").iterdir())


def test_offline_it_says_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published(monkeypatch, tmp_path, b"", "0" * 64)
    (tmp_path / "published.pt").unlink()
    with pytest.raises(ConnectionError, match=r"put the file at .*cache.here\.pt .*NINO_CACHE"):
        load_nowcaster("here")


def test_neither_file_nor_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.pt.*nino_no_posw"):
        load_nowcaster(tmp_path / "nowhere.pt")


def test_truncated_files(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "net.safetensors", pickled(NiNoNet(hidden=8), tmp_path / "net.pt")
    save_nowcaster(NiNoNet(hidden=8), ours)
    for path in (ours, theirs):
        for keep in (0, 5, 1000):
            path.write_bytes(path.read_bytes()[:keep])
            with pytest.raises(ValueError, match=path.name):
                load_nowcaster(path)


def test_foreign_files(tmp_path: Path) -> None:
    foreign = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(ValueError, match="is not a nowcaster"):
        load_nowcaster(foreign)
    save_file({"weight": torch.zeros(2)}, foreign, metadata={"nino": json.dumps({"format": 9, "kind": "nino"})})
    with pytest.raises(ValueError, match="format 9 of kind 'nino' is not known"):
        load_nowcaster(foreign)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is not a NiNo, WNN\\+ or WNN checkpoint"):
        load_nowcaster(tmp_path / "other.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds a list"):
        load_nowcaster(tmp_path / "list.pt")


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"state_dict": NiNoNet(hidden=8).state_dict(), "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(ValueError, match="plain tensors"):
        load_nowcaster(path)


def test_another_hidden_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="says hidden size 64, but its tensors have 8"):
        load_nowcaster(pickled(WNNPlus(hidden=8), tmp_path / "net.pt", hid=64))
    mixed = NiNoNet(hidden=8).state_dict() | {"edge_out.fc.0.weight": torch.zeros(16, 16)}
    torch.save({"state_dict": mixed}, tmp_path / "mixed.pt")
    with pytest.raises(ValueError, match=r"'edge_out.fc.0.weight' should have shape \(8, 8\), found \(16, 16\)"):
        load_nowcaster(tmp_path / "mixed.pt")


def test_wnn_needs_its_three_files(tmp_path: Path, shared: Path) -> None:
    for part in ("conv", "fc"):
        (tmp_path / f"wnn_{part}.pt").write_bytes((shared / "pretrained" / f"wnn_{part}.pt").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"wnn_bias\.pt must lie beside"):
        load_nowcaster(tmp_path / "wnn_conv.pt")


def test_a_loaded_network_can_be_trained(tmp_path: Path) -> None:
    graph = neural_graph(MODELS["mlp"]())
    net = load_nowcaster(pickled(lively(NiNoNet(hidden=8)), tmp_path / "net.pt"))
    states = history(graph.num_parameters)
    mask = torch.ones(1, 1, dtype=torch.bool)
    net.training_loss(graph, states[None], states[None, :, -1:], mask, torch.zeros(1, graph.num_nodes, 8)).backward()
    assert net.edge_proj.fc[0].weight.grad.norm() > 0
