import json

import numpy as np
import pytest
import torch

from nino.files import sha256
from nino.graphs import neural_graph
from nino.nowcasters import NiNoNet, WNNPlus, save_nowcaster
from nino.specs import PermutationSpec
from nino.studies.attention import AttentionLayer, draw, permute
from nino.studies.permutation import READINGS, Embedder, embeddings, random_network
from nino.studies.permutation_report import MOVED, findings, principal, score, study, table

SPEC = PermutationSpec(permutations=80, hidden=16)


@pytest.fixture(scope="module")
def found():
    return embeddings(random_network(16, 0), ["naive", "released", "exact"], 12, 4, 80, 0)


def by(found, topology, reading):
    return next(e for e in found if (e.topology, e.reading) == (topology, reading))


def test_half_of_the_permutations_keep_the_function_and_all_four_families_occur():
    layer = AttentionLayer(12, 4, 0)
    drawn = draw(12, 4, 80, 0, layer)
    assert drawn.good.sum() == 40
    alike = (drawn.queries == drawn.values).all(1)
    assert [(alike & drawn.good).sum(), (alike & ~drawn.good).sum()] == [20, 20]
    state = {name: p.detach() for name, p in layer.named_parameters()}
    x = torch.randn(4, 2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for i in range(8):
        orders = (torch.from_numpy(part[i]) for part in (drawn.queries, drawn.values))
        same = torch.allclose(torch.func.functional_call(layer, permute(state, *orders), (x,)), layer(x))
        assert same == drawn.good[i]


def test_the_exact_graph_moves_by_changes_of_the_function_alone(found):
    exact = by(found, "exact", "both-ways")
    assert ((exact.distances() > MOVED) == ~exact.good).all()
    assert score(exact, 0).accuracy == 1.0


def test_the_naive_graph_confuses_them(found):
    naive = by(found, "naive", "both-ways")
    moved = naive.distances() > MOVED
    assert moved[naive.good].mean() == moved[~naive.good].mean() == 0.5
    assert score(naive, 0).accuracy < 0.8


def test_without_positions_no_message_tells_heads_apart(found):
    assert by(found, "exact", "no-positions").distances().max() < MOVED
    assert by(found, "exact", "nino").distances().min() > MOVED


def test_an_embedding_is_a_mean_over_nodes_and_edges():
    layer = AttentionLayer(4, 2, 0)
    net, graph = NiNoNet(hidden=8), neural_graph(layer, "exact")
    parameters = torch.randn(3, graph.num_parameters, dtype=torch.float64)
    embed = Embedder(net, graph, READINGS["nino"])
    together, alone = embed(parameters), torch.cat([embed(row[None]) for row in parameters])
    assert together.shape == (3, 16)
    torch.testing.assert_close(together, alone)
    assert net.layer_embed.weight.dtype == torch.float32  # the caller's network stays as it is


def test_principal_components_keep_distances_in_the_plane(found):
    embedded = by(found, "naive", "nino")
    assert (np.linalg.norm(principal(embedded), axis=1) <= embedded.distances() + 1e-12).all()
    assert not principal(by(found, "exact", "no-positions")).any()


def test_the_study_writes_table_figure_and_manifest(tmp_path):
    written = study(SPEC, tmp_path)
    assert len(written.data) == 9
    record = json.loads((tmp_path / "manifests" / "permutation.json").read_text())
    assert record["inputs"]["spec"] == SPEC.to_dict()
    assert {"tables/permutation.md", "figures/permutation.svg"} <= set(record["outputs"])
    assert all(sha256(tmp_path / name) == digest for name, digest in record["outputs"].items())
    again = study(SPEC, tmp_path / "again")
    assert again.csv() == written.csv()
    assert (tmp_path / "again/figures/permutation.svg").read_bytes() == (
        tmp_path / "figures/permutation.svg"
    ).read_bytes()


def test_findings_come_from_the_numbers(found):
    scores = [score(e, 0) for e in found]
    both, nino = findings(scores)
    assert "100.0 % [95.4, 100.0] by the exact graph of 80 permutations" in both
    assert nino.startswith("As NiNo reads them")
    assert "80 permutations (40 good)" in table(scores, SPEC).notes[0]


def test_what_cannot_be_studied_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`width` \(=10\) must be a multiple of `heads` \(=4\)"):
        study(PermutationSpec(width=10, hidden=4), tmp_path)
    with pytest.raises(ValueError, match=r"`count` \(=3\) at least 20"):
        study(PermutationSpec(permutations=3, hidden=4), tmp_path)
    save_nowcaster(WNNPlus(hidden=4), tmp_path / "mlp.safetensors")
    with pytest.raises(ValueError, match="holds a WNNPlus; graphs are embedded by a NiNo"):
        study(PermutationSpec(nowcaster=str(tmp_path / "mlp.safetensors")), tmp_path)
