"""Which declaration a model gets."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nino.graphs import EdgeType, GraphBuilder, neural_graph, register_graph, registry

Makers = dict[str, Callable[..., nn.Module]]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "graphs.md"


def test_wrapped_models_have_the_graph_of_the_model_inside(models: Makers) -> None:
    model = models["gpt2"](6, 1, 2, 23, 5)
    plain = neural_graph(model)
    for wrapped in (torch.compile(model), nn.DataParallel(model), torch.compile(nn.DataParallel(model))):
        graph = neural_graph(wrapped)
        assert torch.equal(graph.endpoints(), plain.endpoints())
        assert [p.name for p in graph.parameters] == [name for name, _ in wrapped.named_parameters()]
        assert {b.name for b in graph.blocks if b.weight is not None} == {p.name for p in graph.parameters}


def test_compiled_submodules_are_seen_through(models: Makers) -> None:
    model = models["convnet"](1, 4, 6)
    plain = neural_graph(model)
    model.fc = torch.compile(model.fc)
    graph = neural_graph(model)
    assert torch.equal(graph.endpoints(), plain.endpoints())
    assert graph.parameters[0].name == "fc._orig_mod.0.weight"


def test_transformers_models_that_nothing_declares_are_recorded() -> None:
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, ffn_dim=8, vocab_size=11, word_embed_proj_dim=8
    )
    model = OPTForCausalLM(config)
    graph = neural_graph(model)
    assert not graph.carried
    assert "(released, recorded on dummy inputs {'input_ids': (2, 11)" in graph.summary()
    assert graph.word_nodes is not None and graph.word_nodes.size == 11


def test_layers_that_a_declaration_does_not_know_are_recorded(models: Makers) -> None:
    model = models["gpt2"](6, 1, 2, 23, 5, add_cross_attention=True)
    graph = neural_graph(model)
    assert all("crossattention" in name or "ln_cross" in name for name in graph.carried)
    assert set(graph.reasons.values()) == {"no operation reads it"}
    seen = {"input_ids": torch.zeros(2, 4, dtype=torch.long), "encoder_hidden_states": torch.randn(2, 3, 6)}
    whole = neural_graph(model, "exact", example=seen)
    assert not whole.carried
    assert whole.verify(model, seen)


def test_transformers_models_inside_others_are_recorded(models: Makers) -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = models["bert"]("BertModel"), nn.Linear(12, 3)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(words).pooler_output)

    graph = neural_graph(Classifier(), example=torch.zeros(2, 4, dtype=torch.long))
    assert not graph.carried


@pytest.mark.parametrize("topology", ["released", "exact"])
@pytest.mark.parametrize(
    "kind", ["GPT2ForSequenceClassification", "GPT2ForTokenClassification", "GPT2Model", "GPT2ForQuestionAnswering"]
)
def test_linear_heads_of_gpt2_are_not_transposed(kind: str, topology: str) -> None:
    import transformers

    config = transformers.GPT2Config(
        n_embd=6,
        n_layer=1,
        n_head=2,
        vocab_size=23,
        n_positions=5,
        num_labels=6,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )
    graph = neural_graph(getattr(transformers, kind)(config), topology)
    x = graph.groups["x.1"]
    if kind == "GPT2Model":
        assert "x.1" in graph.fixed
        return
    head = next(
        b for b in graph.blocks if b.name.split(".")[0] in ("score", "classifier", "qa_outputs") and b.source == x
    )
    assert head.target.start >= x.stop
    parameter = next(p for p in graph.parameters if p.name == head.name)
    rows = graph.endpoints()[parameter.slice].view(*parameter.shape, 2)
    assert rows[0, :, 0].tolist() == list(range(x.start, x.stop))  # (out, in): a row reads all residual neurons
    assert len(set(rows[0, :, 1].tolist())) == 1


@pytest.mark.parametrize("topology", ["released", "exact"])
@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForSequenceClassification", "BertForTokenClassification", "BertForPreTraining"]
)
def test_heads_of_bert_read_the_pooler_where_there_is_one(kind: str, topology: str, models: Makers) -> None:
    graph = neural_graph(models["bert"](kind), topology)
    names = {b.name for b in graph.blocks}
    head = next((b for b in graph.blocks if b.name in ("classifier.weight", "cls.seq_relationship.weight")), None)
    if head is not None:
        pooled = "bert.pooler.dense.weight" in names
        last = "bert.pooler.dense.weight" if pooled else "bert.encoder.layer.1.output.LayerNorm.weight"
        assert head.source == next(b.target for b in graph.blocks if b.name == last)


def test_untied_bert_and_biased_llama_have_no_lonely_nodes(models: Makers) -> None:
    cases = [
        models["bert"](tie_word_embeddings=False),
        models["llama"](12, 1, 6, 2, 10, 17, attention_bias=True, mlp_bias=True),
        models["llama"](12, 1, 6, 2, 10, 17, "Qwen2"),
        models["vit"]("ViTModel"),
    ]
    for model in cases:
        for topology in ("released", "exact"):
            graph = neural_graph(model, topology)
            edges = graph.edge_index()[:, : -graph.num_nodes]
            assert set(edges.reshape(-1).tolist()) == set(range(graph.num_nodes))
            copies = [b for b in graph.blocks if b.weight is not None]
            assert len({(b.source, b.target, b.weight) for b in copies}) == len(copies)


def test_classes_are_known_by_their_library_not_by_their_bare_name() -> None:
    class VisionTransformer(nn.Module):  # as other libraries call theirs
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x)

    assert list(neural_graph(VisionTransformer()).groups) == ["x", "head.bias", "head"]


@pytest.mark.usefixtures("unchecked")
def test_topology_and_unknown_are_checked() -> None:
    with pytest.raises(ValueError, match="`topology` \\(='wrong'\\) must be one of 'released', 'exact', 'naive'"):
        neural_graph(nn.Linear(2, 2), "wrong")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`unknown` \\(='skip'\\)"):
        neural_graph(nn.Linear(2, 2), unknown="skip")  # type: ignore[arg-type]


def test_registered_classes_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(nn.Linear):
        pass

    def declare(b: GraphBuilder, model: nn.Module) -> None:
        x, y = b.group("in", 2, fixed=True), b.group("out", 3, fixed=True)
        b.dense(x, y, "weight", EdgeType.VALUE)
        b.bias(y, "bias")

    monkeypatch.setattr(registry, "_BY_CLASS", dict(registry._BY_CLASS))
    monkeypatch.setattr(registry, "_BY_TYPE", dict(registry._BY_TYPE))
    register_graph(Own, declare)
    register_graph("own-type", declare)
    assert neural_graph(Own(2, 3)).edge_types()[0] == EdgeType.VALUE
    assert neural_graph(nn.Linear(2, 3)).edge_types()[0] == EdgeType.LINEAR


def test_importing_graphs_imports_no_model_library() -> None:
    libraries = ("transformers", "torchvision", "torch_geometric")
    code = f"import sys, nino.graphs; print([m for m in {libraries} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_examples_of_the_documentation_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BY_CLASS", dict(registry._BY_CLASS))
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.S)
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, str(DOCS), "exec"), names)
    assert len(examples) >= 2
