"""Tables and other indexing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from nino.graphs.core import EdgeType
from nino.graphs.recorded.reading import Reading, fresh_axes
from nino.graphs.recorded.rules.base import Call, blank, rule
from nino.graphs.recorded.rules.views import taken
from nino.graphs.recorded.values import Axis, Dim, Field, Value, substitute


@rule("embedding", "embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding(r: Reading, call: Call) -> list[Value | None]:
    """Rows of a table."""
    table, ids = call["weight"], call["indices"]
    if "bag" in call.name:
        ids = Value(fresh_axes(call.shape[:1]))
    return [looked_up(r, table, ids)] + blank(call)[1:]


def looked_up(r: Reading, table: Value, ids: Value) -> Value:
    """``table[ids]`` over the table's first dimension."""
    rows = set(table.dims[0])
    if table.kind != "weight":
        r.tell_apart(table, rows, "an index along them")
        return table.but(dims=(*ids.dims, *table.dims[1:]), fields=r.reduce(table, rows, "slices"))
    if table.window is not None and not r.placed(table):
        table = _placed(r, table, ids)
    table = r.settle(table)
    r.tell_apart(table, rows, "rows of a table")
    fields = tuple(f for f in table.fields if not rows & set(f.axes))
    for f in fields:
        r.neurons.meet(f.labels)
    kind = "weight" if ids.kind == "constant" else "data"
    out = table.but(dims=(*ids.dims, *table.dims[1:]), fields=fields, kind=kind, fresh=2)
    return replace(out, kind="data") if fields else out


def _placed(r: Reading, table: Value, ids: Value) -> Value:
    name = r.weights.window(table.window)[1]  # type: ignore[arg-type]
    columns = tuple(x for dim in table.dims[1:] for x in dim)
    targets = r.neurons.new(name, tuple(x.size for x in columns), met=True)
    rows = r.neurons.new(f"{name}.rows", tuple(x.size for x in table.dims[0]), met=True, fixed=True)
    if ids.kind != "constant":
        edge_type = EdgeType.WORD_EMBEDDING
        if r.neurons.words is None:
            r.neurons.words = rows.reshape(-1)
    elif _spread(ids.elements):
        edge_type = EdgeType.POSITION_EMBEDDING
    else:
        edge_type = EdgeType.BIAS  # one row for all, as token types that nobody passes
    return r.place(table, [(columns, targets), (table.dims[0], rows)], edge_type)


def _spread(elements: Tensor | None) -> bool:
    return elements is None or elements.numel() < 2 or bool((elements != elements.reshape(-1)[0]).any())


@rule("index_select", "take_along_dim")
def index_select(r: Reading, call: Call) -> Value:
    """Chosen indices of a dimension."""
    return _indexed(r, call.first, call["dim"] % max(len(call.first.dims), 1), call["index"])


def _indexed(r: Reading, value: Value, d: int, ids: Value) -> Value:
    if value.kind == "weight" and d == 0:
        return looked_up(r, value, ids)
    value = r.settle(value)
    known = ids.elements if len(ids.dims) == 1 else None
    labelled = any(value.labelled(x) for x in value.dims[d])
    if labelled and known is not None and ids.kind == "constant" and not known.is_floating_point():
        size = value.shape[d]
        return taken(r, value, d, (known.cpu().numpy() % size).astype(np.int64))
    gone = set(value.dims[d])
    r.tell_apart(value, gone, "an index along them")
    dims = (*value.dims[:d], *ids.dims, *value.dims[d + 1 :])
    return value.but(dims=dims, fields=r.reduce(value, gone, "slices"))


@rule("index", "_unsafe_index")
def index(r: Reading, call: Call) -> Value:
    """``tensor[ids, ...]``."""
    value = call.first
    ids = list(call["indices"])
    used = [d for d, i in enumerate(ids) if i is not None]
    boolean = any(v.extra.get("bool") for v in ids if v is not None)
    if len(used) == 1 and not boolean:
        return _indexed(r, value, used[0], ids[used[0]])
    value = r.settle(value)
    wide = len(used) if not boolean else len(value.dims) + 1 - len(call.shape)
    span = list(range(used[0], used[0] + wide)) if boolean else used
    gone = {x for d in span for x in value.dims[d]}
    r.tell_apart(value, gone, "an index along them")
    rest = [dim for d, dim in enumerate(value.dims) if d not in span]
    between = len(call.shape) - len(rest)
    at = span[0] if span == list(range(span[0], span[-1] + 1)) else 0
    new = fresh_axes(call.shape[at : at + between])
    return value.but(dims=(*rest[:at], *new, *rest[at:]), fields=r.reduce(value, gone, "slices"))


@rule("gather", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill", "index_put",
      "_index_put_impl", "masked_scatter", "slice_scatter", "select_scatter", "index_reduce")  # fmt: skip
def along(r: Reading, call: Call) -> Value:
    """Elements read or written by index along a dimension: neurons along it are told apart."""
    value = r.settle(call.first)
    rank = len(value.dims)
    if "index_put" in call.name:
        gone_dims = [d for d, i in enumerate(call["indices"]) if i is not None]
    elif call.name == "masked_scatter":
        gone_dims = list(range(rank))
    else:
        gone_dims = [call["dim"] % rank] if rank else []
    gone = {x for d in gone_dims for x in value.dims[d]}
    r.tell_apart(value, {x for x in gone if not x.uniform}, f"{call.name} along them")
    fields = r.reduce(value, gone, "slices")
    dims: list[Dim] = []
    for d, size in enumerate(call.shape):
        same = d < rank and value.shape[d] == size
        dims.append(value.dims[d] if same else ((Axis(size),) if size != 1 else ()))
    here = {x for dim in dims for x in dim}
    out = value.but(dims=tuple(dims), fields=tuple(f for f in fields if set(f.axes) <= here))
    out = substitute(out, {x: (Axis(x.size),) for x in here if x.uniform})  # what is written is not alike everywhere
    source = call.get("src", call.get("source", call.get("values")))
    if isinstance(source, Value) and source.kind != "constant":
        out = _written(r, out, r.settle(source), set(gone_dims))
    return out


def _written(r: Reading, out: Value, source: Value, gone: set[int]) -> Value:
    """What is written brings its neurons along the dimensions that are not indexed."""
    left = [d for d in range(len(out.dims)) if d not in gone]
    if len(source.dims) != len(out.dims):
        shift = len(source.dims) - len(out.dims)
        pairs = [(d, d + shift) for d in left if 0 <= d + shift]
    else:
        pairs = [(d, d) for d in left]
    fields: list[Field] = list(out.fields)
    kind = "data" if "data" in (out.kind, source.kind) else out.kind
    for f in source.fields:
        home = next((d for d, e in pairs if set(f.axes) and set(f.axes) <= set(source.dims[e])), None)
        e = next((e for d, e in pairs if d == home), None)
        if home is None or e is None or [x.size for x in source.dims[e]] != [x.size for x in out.dims[home]]:
            r.neurons.fix(f.labels, "written by index")
            continue
        to = dict(zip(source.dims[e], out.dims[home], strict=True))
        g = Field(tuple(to[x] for x in f.axes), f.labels)
        same = next((h for h in fields if set(h.axes) == set(g.axes)), None)
        if same is None:
            fields.append(g)
        else:
            r.neurons.residual(g.along(same.axes), same.labels)
    return replace(out, fields=tuple(fields), kind=kind)


@rule("nll_loss_forward", "nll_loss2d_forward", "nll_loss", "nll_loss_nd", "cross_entropy_loss", "multi_margin_loss")
def class_loss(r: Reading, call: Call) -> list[Value | None]:
    """A loss that reads one class by its number."""
    value = call.first
    r.tell_apart(value, set(value.dims[min(1, len(value.dims) - 1)]), "classes of a loss")
    return blank(call)


@rule("argwhere", "nonzero", "one_hot", "arange", "linspace", "item", "_local_scalar_dense", "equal", "is_nonzero")
def numbers(r: Reading, call: Call) -> list[Value | None]:
    """Positions by number."""
    for value in call.values:
        r.tell_apart(value, value.axes, f"{call.name} of them")
    return blank(call)
