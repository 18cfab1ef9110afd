import pytest
import torch
from torch import nn

from nino.graphs import neural_graph
from nino.tasks import MODELS, Data, DataSizes
from nino.tasks.models import convnet, gpt2, llama, vit


def data(kind: str, shape: tuple[int, ...], outputs: int) -> Data:
    empty = None  # a builder looks at the shapes alone
    return Data(kind, empty, empty, empty, shape, outputs, "")


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("shape", "channels", "parameters"),
    [((1, 28, 28), [16, 32, 32], 14_378), ((3, 32, 32), [16, 32, 32], 14_666)],
)
def test_convnets_have_the_published_size(shape, channels, parameters):
    model = convnet(data("vision", shape, 10), {"channels": channels})
    assert count(model) == parameters
    assert model(torch.zeros(2, *shape)).shape == (2, 10)


def test_the_first_convolution_alone_shrinks_the_image():
    model = convnet(data("vision", (1, 28, 28), 10), {"channels": [2, 3, 4]})
    sizes = []
    for module in model:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 1, 28, 28))
    assert sizes == [(2, 13, 13), (3, 13, 13), (4, 13, 13)]


@pytest.mark.parametrize(
    ("layers", "width", "heads", "parameters"), [(3, 24, 3, 1_252_464), (2, 32, 2, 1_666_464), (3, 64, 4, 3_432_064)]
)
def test_gpt2s_have_the_published_size(layers, width, heads, parameters):
    with torch.device("meta"):
        model = gpt2(data("language", (1024,), 50_257), {"layers": layers, "width": width, "heads": heads})
    assert count(model) == parameters


def test_gpt2_is_causal_and_computes_gpt2s_activation():
    from transformers.activations import ACT2FN

    torch.manual_seed(0)
    model = gpt2(data("language", (8,), 11), {"layers": 1, "width": 4, "heads": 2}).eval()
    tokens = torch.randint(0, 11, (1, 8))
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 11
    first, second = model(tokens).logits, model(changed).logits
    torch.testing.assert_close(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5:], second[:, 5:])
    x = torch.randn(100)
    torch.testing.assert_close(model.transformer.h[0].mlp.act(x), ACT2FN["gelu_new"](x))


PAPERS_LLAMA = {"layers": 6, "width": 384, "heads": 6, "kv_heads": 2, "inner": 1536}
PAPERS_VIT = {"layers": 6, "width": 384, "heads": 6, "patch": 4}


@pytest.mark.parametrize(
    ("build", "of", "options", "low", "high"),
    [
        (llama, data("language", (1024,), 128_256), PAPERS_LLAMA, 111_000_000, 112_000_000),
        (vit, data("vision", (3, 32, 32), 1000), PAPERS_VIT, 11_000_000, 11_500_000),
    ],
)
@pytest.mark.parametrize("topology", ["released", "exact"])
def test_large_models_have_the_published_size_and_a_graph(build, of, options, low, high, topology):
    with torch.device("meta"):
        model = build(of, options)
    assert low <= count(model) < high
    graph = neural_graph(model, topology)
    assert graph.num_parameters == count(model)
    assert not graph.carried


def test_llama_is_causal_and_unties_its_head_unless_told():
    torch.manual_seed(0)
    of, options = data("language", (8,), 11), {"layers": 1, "width": 8, "heads": 2, "kv_heads": 1}
    model = llama(of, options).eval()
    tokens = torch.randint(0, 11, (1, 8))
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 11
    first, second = model(tokens).logits, model(changed).logits
    torch.testing.assert_close(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5:], second[:, 5:])
    assert count(model) - count(llama(of, options | {"tied": True})) == 11 * 8


def test_vit_sees_every_patch():
    torch.manual_seed(0)
    model = vit(data("vision", (1, 8, 8), 10), {"layers": 1, "width": 8, "heads": 2, "patch": 4}).eval()
    images = torch.rand(1, 1, 8, 8, requires_grad=True)
    model(images).logits.square().sum().backward()
    assert images.grad.unfold(2, 4, 4).unfold(3, 4, 4).abs().amax((0, 1, 4, 5)).gt(0).all()


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_gpt2_dropout_is_the_option(dropout):
    model = gpt2(data("language", (8,), 11), {"layers": 1, "width": 4, "heads": 2, "dropout": dropout})
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {dropout}


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (convnet, {}, "model.options.channels: missing"),
        (convnet, {"channels": [4], "width": 3}, "model.options.width: unknown key; allowed: channels"),
        (convnet, {"channels": []}, r"model.options.channels \(=\[\]\) must hold at least 1 entry"),
        (convnet, {"channels": [4, -1]}, r"model.options.channels\[1\] \(=-1\) must be at least 1"),
        (llama, {"layers": 1, "width": 8, "heads": 4, "kv_heads": 3}, r"heads \(=4\) must be a multiple of .*kv_heads"),
        (vit, {"layers": 1, "width": 8, "heads": 3, "patch": 4}, r"width \(=8\) must be a multiple"),
        (vit, {"layers": 1, "width": 8, "heads": 2, "patch": 3}, r"patch \(=3\) must divide the side"),
        (gpt2, {"layers": 1, "width": 8}, "model.options.heads: missing"),
        (gpt2, {"layers": 1, "width": 8, "heads": 3}, r"width \(=8\) must be a multiple of model.options.heads \(=3\)"),
    ],
)
def test_unusable_options_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(data("vision", (1, 8, 8), 10), options)


def test_an_mlp_fits_rows_of_any_shape():
    rows = DataSizes("table", (3, 2), 4, {"train": 8, "validation": 1, "test": 1}, "x").synthetic(8, 1, 1)
    net = MODELS["mlp"](rows, {"hidden": [5, 7], "activation": "tanh"})
    assert net(rows.train.slice(0, 8)[0]).shape == (8, 4)
    assert [tuple(p.shape) for p in net.parameters()] == [(5, 6), (5,), (7, 5), (7,), (4, 7), (4,)]
    assert neural_graph(net).num_parameters == sum(p.numel() for p in net.parameters())
    linear = MODELS["mlp"](rows, {"hidden": []})
    assert [tuple(p.shape) for p in linear.parameters()] == [(4, 6), (4,)]
    for options, says in [
        ({}, "model.options.hidden: missing"),
        ({"hidden": [3], "activation": "sine"}, r"model.options.activation \(=.sine.\): allowed: gelu, relu"),
        ({"hidden": [3], "depth": 2}, "model.options.depth: unknown key"),
    ]:
        with pytest.raises(ValueError, match=says):
            MODELS["mlp"](rows, options)
