"""Recorded graphs of library models: equal to declared ones, exact, and whole.

That the recorded graphs of Llama, Qwen, Gemma, Mistral, BERT and ViT have the symmetries of the network, no more and no
less, is shown by tests/graphs/test_exact.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nino.graphs import NeuralGraph, neural_graph
from nino.graphs.recorded import record_graph

BODY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {
    **BODY,
    "vocab_size": 23,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GQA = {**TEXT, "num_key_value_heads": 2, "head_dim": 4}
IDS = {"input_ids": torch.arange(14).view(2, 7)}
IMAGES = {"pixel_values": torch.randn(2, 3, 16, 16)}


def _hub(name: str, **options: object) -> nn.Module:
    import transformers

    cls = getattr(transformers, name)
    return cls(cls.config_class(**options))


def _clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    text = {**BODY, "vocab_size": 23, "max_position_embeddings": 16, "eos_token_id": 13, "projection_dim": 8}
    vision = {**BODY, "image_size": 16, "patch_size": 8, "projection_dim": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))


def _convnet() -> nn.Module:
    convs = [nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(6, 5))


def _residual() -> nn.Module:
    import torchvision

    resnet = torchvision.models.resnet
    model = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)
    return nn.Sequential(model.conv1, model.bn1, model.layer1, model.layer2, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _torchvision_vit() -> nn.Module:
    import torchvision

    return torchvision.models.VisionTransformer(16, 4, 2, 4, 16, 24, num_classes=3)


def _multiscale() -> nn.Module:
    from torchvision.models.video import mvit

    kernel, even, half = [3, 3, 3], [1, 1, 1], [1, 2, 2]
    blocks = [
        mvit.MSBlockConfig(2, 8, 8, kernel, kernel, even, half),
        mvit.MSBlockConfig(4, 8, 16, kernel, kernel, half, even),
    ]
    return mvit.MViT((16, 16), 4, blocks, True, False, True, True, num_classes=3)


LIBRARY: dict[str, tuple[Callable[[], nn.Module], object]] = {
    "GPT-2": (lambda: _hub("GPT2LMHeadModel", n_embd=16, n_layer=2, n_head=4, vocab_size=23, n_positions=16,
                           bos_token_id=0, eos_token_id=0), IDS),
    "Llama": (lambda: _hub("LlamaForCausalLM", **TEXT), IDS),
    "Llama, grouped queries": (lambda: _hub("LlamaForCausalLM", **GQA), IDS),
    "Qwen2": (lambda: _hub("Qwen2ForCausalLM", **{k: v for k, v in GQA.items() if k != "head_dim"}), IDS),
    "Qwen3": (lambda: _hub("Qwen3ForCausalLM", **GQA), IDS),
    "Gemma": (lambda: _hub("GemmaForCausalLM", **GQA), IDS),
    "Mistral": (lambda: _hub("MistralForCausalLM", **GQA), IDS),
    "BERT": (lambda: _hub("BertForMaskedLM", **TEXT), IDS),
    "ViT": (lambda: _hub("ViTForImageClassification", **BODY, image_size=16, patch_size=4), IMAGES),
    "torchvision's ViT": (_torchvision_vit, torch.randn(2, 3, 16, 16)),
}  # fmt: skip
TRACED: dict[str, tuple[Callable[[], nn.Module], object]] = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(3, 4)),
    "ConvNet": (_convnet, torch.randn(2, 3, 9, 9)),
    "residual blocks": (_residual, torch.randn(2, 3, 16, 16)),
}
LIBRARY |= {
    "RoBERTa": (lambda: _hub("RobertaForMaskedLM", **{**TEXT, "max_position_embeddings": 20}), IDS),
    "DistilBERT": (lambda: _hub("DistilBertForMaskedLM", dim=16, hidden_dim=24, n_layers=1, n_heads=4,
                                vocab_size=23), IDS),
    "T5": (lambda: _hub("T5ForConditionalGeneration", d_model=16, d_ff=24, num_layers=2, num_heads=4, d_kv=4,
                        vocab_size=23), {**IDS, "decoder_input_ids": IDS["input_ids"]}),
    "BART": (lambda: _hub("BartForConditionalGeneration", d_model=16, encoder_layers=1, decoder_layers=1,
                          encoder_ffn_dim=24, decoder_ffn_dim=24, encoder_attention_heads=4, decoder_attention_heads=4,
                          vocab_size=23, max_position_embeddings=16, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                          decoder_start_token_id=0), {**IDS, "decoder_input_ids": IDS["input_ids"]}),
    "GPT-NeoX": (lambda: _hub("GPTNeoXForCausalLM", **TEXT), IDS),
    "Gemma 2": (lambda: _hub("Gemma2ForCausalLM", **GQA), IDS),
    "Phi 3": (lambda: _hub("Phi3ForCausalLM", **{k: v for k, v in GQA.items() if k != "head_dim"}), IDS),
    "SmolLM3": (lambda: _hub("SmolLM3ForCausalLM", **{k: v for k, v in GQA.items() if k != "head_dim"}), IDS),
    "OPT": (lambda: _hub("OPTForCausalLM", hidden_size=16, ffn_dim=24, num_hidden_layers=1, num_attention_heads=4,
                         vocab_size=23, max_position_embeddings=16, word_embed_proj_dim=16), IDS),
    "ELECTRA": (lambda: _hub("ElectraForMaskedLM", **TEXT, embedding_size=8), IDS),
    "Mixtral": (lambda: _hub("MixtralForCausalLM", **GQA, num_local_experts=4), IDS),
    "Qwen3-MoE": (lambda: _hub("Qwen3MoeForCausalLM", **GQA, num_experts=4, num_experts_per_tok=2,
                               moe_intermediate_size=8), IDS),
    "Whisper": (lambda: _hub("WhisperForConditionalGeneration", d_model=16, encoder_layers=1, decoder_layers=1,
                             encoder_ffn_dim=24, decoder_ffn_dim=24, encoder_attention_heads=4,
                             decoder_attention_heads=4, vocab_size=23, num_mel_bins=8, max_source_positions=10,
                             max_target_positions=16, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                             decoder_start_token_id=0),
                {"input_features": torch.randn(2, 8, 20), "decoder_input_ids": IDS["input_ids"]}),
    "Qwen2-MoE": (lambda: _hub("Qwen2MoeForCausalLM", **TEXT, num_key_value_heads=2, num_experts=4,
                               num_experts_per_tok=2, moe_intermediate_size=8, shared_expert_intermediate_size=8), IDS),
    "CLIP, both towers": (_clip, {**IMAGES, **IDS}),
    "Mamba": (lambda: _hub("MambaForCausalLM", hidden_size=16, num_hidden_layers=1, vocab_size=23), IDS),
    "MViT": (_multiscale, torch.randn(2, 3, 4, 16, 16)),
    "CLIP": (lambda: _hub("CLIPVisionModel", **BODY, image_size=16, patch_size=8), IMAGES),
    "Wav2Vec2": (lambda: _hub("Wav2Vec2Model", **BODY, conv_dim=(8, 8), conv_kernel=(3, 3), conv_stride=(2, 2),
                              num_feat_extract_layers=2, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
                              vocab_size=23), {"input_values": torch.randn(2, 400)}),
}  # fmt: skip


def on_edges(graph: NeuralGraph) -> float:
    """The share of the parameters on edges."""
    carried = set(graph.carried)
    return 1 - sum(p.numel for p in graph.parameters if p.name in carried) / graph.num_parameters


def fingerprint(graph: NeuralGraph, parameters: Tensor) -> np.ndarray:
    """Colours of the nodes after refinement, sorted: equal for isomorphic graphs with equal weights on their edges."""
    from tests.graphs.isomorphism import _labels, _mix

    edges, labels = graph.edge_index().numpy(), _labels(graph, parameters)
    colours = np.zeros(graph.num_nodes, dtype=np.uint64)
    for name in graph.fixed:
        nodes = graph.groups[name]
        colours[nodes.slice] = _mix(np.arange(nodes.size, dtype=np.uint64) + np.uint64(7))
    for _ in range(24):
        sums = colours.copy()
        np.add.at(sums, edges[1], _mix(labels ^ _mix(colours[edges[0]])))
        np.add.at(sums, edges[0], _mix(~labels ^ _mix(colours[edges[1]])))
        colours = _mix(sums)
    return np.sort(colours)


@pytest.mark.parametrize("topology", ["released", "exact"])
def test_gpt2_is_recorded_as_it_is_declared(topology: str) -> None:
    model = LIBRARY["GPT-2"][0]()
    declared, recorded = neural_graph(model, topology), record_graph(model, IDS, topology)
    assert (declared.origin, recorded.origin) == ("declared", "recorded")
    assert (recorded.num_nodes, recorded.num_edges) == (declared.num_nodes, declared.num_edges)
    weights = torch.randn(declared.num_parameters)
    assert np.array_equal(fingerprint(recorded, weights), fingerprint(declared, weights))


@pytest.mark.parametrize(("make", "example"), TRACED.values(), ids=TRACED.keys())
def test_traced_networks_are_recorded_as_they_are_traced(make: Callable[[], nn.Module], example: object) -> None:
    model = make()
    traced, recorded = neural_graph(model, "released"), record_graph(model, example)
    weights = torch.randn(traced.num_parameters)
    assert np.array_equal(fingerprint(recorded, weights), fingerprint(traced, weights))


@pytest.mark.parametrize(("make", "example"), LIBRARY.values(), ids=LIBRARY.keys())
def test_families_are_recorded_whole_and_exact(make: Callable[[], nn.Module], example: object) -> None:
    model = make()
    graph = record_graph(model, example)
    assert set(graph.reasons.values()) <= {"no operation reads it"}
    assert on_edges(graph) >= 0.95
    checked = graph.verify(model, example)
    assert checked, str(checked)
    assert checked.renumbered


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_adapters_of_peft_lie_on_edges(kind: str) -> None:
    peft = pytest.importorskip("peft")
    model = LIBRARY["GPT-2" if kind == "gpt2" else "Llama"][0]()
    target = ["c_attn"] if kind == "gpt2" else ["q_proj", "v_proj"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=target, fan_in_fan_out=kind == "gpt2"))
    graph = neural_graph(adapted, "exact")
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained and not trained & set(graph.carried)
    assert graph.verify(adapted, IDS)


def test_a_timm_vit_is_recorded_whole() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32, patch_size=8, depth=2)
    graph = neural_graph(model, "exact", example=torch.randn(2, 3, 32, 32))
    assert not graph.carried
    assert graph.verify(model, torch.randn(2, 3, 32, 32))


def test_graph_convolutions_of_pyg_are_recorded() -> None:
    from torch_geometric.nn import GCN

    torch.manual_seed(0)
    model, edges = GCN(5, 8, 2, 3), torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]])
    example = (torch.randn(4, 5), edges)
    graph = neural_graph(model, "exact", example=example)
    assert not graph.carried
    checked = graph.verify(model, example)
    assert checked and checked.renumbered


def test_meta_bf16_and_compiled_models_are_recorded() -> None:
    with torch.device("meta"):
        meta = LIBRARY["Llama"][0]()
    small = record_graph(LIBRARY["Llama"][0](), IDS)
    assert record_graph(meta, IDS).blocks == small.blocks
    assert record_graph(LIBRARY["Llama"][0]().bfloat16(), IDS).blocks == small.blocks
    model = TRACED["perceptron"][0]()
    compiled = torch.compile(model)
    graph = neural_graph(compiled, "exact", example=torch.randn(3, 4))
    assert [p.name for p in graph.parameters] == [name for name, _ in compiled.named_parameters()]


def test_recording_leaves_the_model_and_random_numbers_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2)).eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state = torch.get_rng_state()
    record_graph(model, torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m.training for m in model.modules())
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (nn.LazyLinear(3), torch.randn(2, 4), "parameter 'weight' has no shape yet: run the model once"),
        (nn.Linear(3, 2, dtype=torch.complex64), torch.randn(2, 3), "parameter 'weight' is complex"),
        (nn.Linear(3, 2), torch.randn(2, 4), "Linear: the forward does not run on `example` .*pass the inputs that"),
        (nn.Bilinear(2, 3, 4), torch.randn(2, 2), "Bilinear: the forward does not run .*missing 1 required positional"),
    ],
)
def test_what_cannot_be_recorded_is_said(model: nn.Module, example: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neural_graph(model, "exact", example=example)


def test_parameters_written_in_place_are_carried_and_left_as_they_are() -> None:
    class Clamped(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.weight.clamp_(-0.01, 0.01)
            return super().forward(x) if x.sum() < 1e9 else x

    model = nn.Sequential(Clamped(4, 8), nn.ReLU(), nn.Linear(8, 2))
    before = model[0].weight.detach().clone()
    graph = neural_graph(model, "exact", example=torch.randn(3, 4))
    assert graph.reasons == {"0.weight": "written in place"}
    assert torch.equal(model[0].weight, before)
