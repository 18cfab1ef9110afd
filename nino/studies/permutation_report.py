"""Table and figure of the permutation study."""

from __future__ import annotations

import time
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from nino.drawing import BLUE, PAGE, RED, new_figure, save, styled
from nino.graphs.registry import Topology
from nino.nowcasters import NiNoNet, load_nowcaster
from nino.report.columns import Column, Row, lay_out, plain, rounded
from nino.report.formats import interval_text, number
from nino.report.rendering import Table
from nino.specs import PermutationSpec
from nino.studies.outputs import write_study
from nino.studies.permutation import READINGS, Embeddings, embeddings, random_network

NAME = "permutation"
TOPOLOGIES: tuple[Topology, ...] = ("naive", "released", "exact")
MOVED = 1e-9
"""Relative distance above which an embedding is another one: rounding of float64 stays orders of magnitude below."""

FOLDS = 5
GOOD, BAD = BLUE, RED


@dataclass(frozen=True)
class Score:
    """How well one graph tells permutations apart.

    Args:
        topology: of the graph.
        reading: a key of ``READINGS``.
        accuracy: of a cross-validated logistic regression, fraction.
        low: lower end of its 95 % Wilson interval.
        high: upper end.
        good_moved: share of the function-preserving permutations whose embedding moved.
        bad_moved: share of the others whose embedding moved.
        good_distance: median relative distance of the former.
        bad_distance: median relative distance of the latter.
        count: permutations n.
        good: how many of them keep the function.
    """

    topology: str
    reading: str
    accuracy: float
    low: float
    high: float
    good_moved: float
    bad_moved: float
    good_distance: float
    bad_distance: float
    count: int
    good: int


def score(embedded: Embeddings, seed: int) -> Score:
    """Judge embeddings.

    A logistic regression on how far each coordinate is from that of the original layer, standardised, has to tell good
    from bad permutations; its accuracy is over the held-out parts of a stratified five-fold cross-validation.

    Args:
        embedded: the embeddings.
        seed: of the folds.

    Returns:
        Accuracy with its interval, and what moved.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    distances, good = embedded.distances(), embedded.good
    features = np.abs(embedded.permuted - embedded.original)
    features[distances < MOVED] = 0.0  # rounding is no information
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    right = int((cross_val_predict(classifier, features, good, cv=folds) == good).sum())
    interval = binomtest(right, len(good)).proportion_ci(0.95, method="wilson")
    return Score(
        embedded.topology,
        embedded.reading,
        right / len(good),
        float(interval.low),
        float(interval.high),
        float((distances[good] > MOVED).mean()),
        float((distances[~good] > MOVED).mean()),
        float(np.median(distances[good])),
        float(np.median(distances[~good])),
        len(good),
        int(good.sum()),
    )


def table(scores: list[Score], spec: PermutationSpec) -> Table:
    """The study's table, a row a graph and a reading."""
    best = max(s.accuracy for s in scores)
    columns = (
        Column("Messages", lambda row: READINGS[row["reading"]].label),
        Column("Graph", plain("topology")),
        Column("Accuracy", _accuracy, bold=lambda row: row["accuracy"] == best),
        Column("Good that move, %", lambda row: number(100 * row["good_moved"], 1)),
        Column("Bad that move, %", lambda row: number(100 * row["bad_moved"], 1)),
        Column("Distance of good", rounded("good_distance", 2)),
        Column("Distance of bad", rounded("bad_distance", 2)),
    )
    weights = spec.nowcaster or f"random weights of hidden size {spec.hidden}"
    notes = (
        f"{scores[0].count} permutations ({scores[0].good} good) of the hidden neurons of one attention layer, "
        f"d = {spec.width}, H = {spec.heads}; good ones keep its function, as computed. Embedded by the graph network "
        f"of {weights}; seed {spec.seed}.",
        "Accuracy: logistic regression on how far each coordinate of the embedding is from that of the layer itself, "
        "five-fold cross-validation, with the 95 % Wilson interval. Distances are relative to the embedding's norm, "
        "medians; a permutation moves where its distance exceeds 1e-9.",
        "As NiNo: messages along the edges only, nodes know their Laplacian positions. No edge ends at a head's node, "
        "so that without positions heads are told apart only by messages both ways.",
        "The paper shows this study as figure 2d,e; the values of its figure are in no source at hand.",
    )
    title = "Which permutations of attention a neural graph sees"
    rows = [vars(s) for s in scores]
    return lay_out(NAME, title, columns, rows, group=itemgetter("reading"), notes=notes, findings=findings(scores))


def _accuracy(row: Row) -> str:
    return f"{number(100 * row['accuracy'], 1)} % {interval_text(100 * row['low'], 100 * row['high'])}"


def findings(scores: list[Score]) -> tuple[str, ...]:
    """Two sentences from the numbers: what the graphs' symmetries allow, and what NiNo's messages make of them."""
    sentences = []
    for reading, opening in (
        ("both-ways", "Read both ways, without positions"),
        ("nino", "As NiNo reads them, along the edges with Laplacian positions"),
    ):
        cells = [f"{_accuracy(vars(s))} by the {s.topology} graph" for s in scores if s.reading == reading]
        count = scores[0].count
        sentences.append(f"{opening}, {', '.join(cells)} of {count} permutations are told good from bad.")
    return tuple(sentences)


def draw(studied: list[Embeddings], stem: Path) -> list[Path]:
    """The picture of figure 2d,e: embeddings on their first two principal components, the original a cross."""
    readings = list(dict.fromkeys(e.reading for e in studied))
    topologies = list(dict.fromkeys(e.topology for e in studied))
    with styled():
        figure = new_figure(PAGE, 2.0 * len(readings) + 0.5)
        axes = figure.subplots(len(readings), len(topologies), squeeze=False)
        for e in studied:
            i, j = readings.index(e.reading), topologies.index(e.topology)
            ax = axes[i, j]
            plane = principal(e)
            for kind, colour, marker, label in ((e.good, GOOD, "o", "keep"), (~e.good, BAD, "x", "change")):
                name = f"{label} the function" if i == j == 0 else None
                style = {"s": 7, "c": colour, "marker": marker, "linewidths": 0.6, "alpha": 0.6}
                ax.scatter(*plane[kind].T, **style, label=name, rasterized=True)  # thousands of points
            ax.plot(0, 0, "+", color="black", markersize=9, label="not permuted" if i == j == 0 else None)
            if i == 0:
                ax.set_title(f"{e.topology} graph")
            if j == 0:
                ax.set_ylabel(f"{READINGS[e.reading].label}\nPC 2")
            if i == len(readings) - 1:
                ax.set_xlabel("PC 1")
            ax.ticklabel_format(style="sci", scilimits=(-2, 2))
        figure.legend(loc="outside lower center", ncols=3)
        return save(figure, stem)


def principal(embedded: Embeddings) -> NDArray[np.float64]:
    """(n, 2): first two principal components around the original, as shares of its norm; zero where nothing moves."""
    moved = (embedded.permuted - embedded.original) / np.linalg.norm(embedded.original)
    if embedded.distances().max() < MOVED:
        return np.zeros((len(moved), 2))
    _, _, directions = np.linalg.svd(moved, full_matrices=False)
    # a fixed sign, so that the same embeddings are the same picture
    signs = np.sign(directions[:2][np.arange(2), np.abs(directions[:2]).argmax(1)])
    plane: NDArray[np.float64] = moved @ (directions[:2] * signs[:, None]).T
    return plane


def study(spec: PermutationSpec, results: Path) -> Table:
    """Do the study: ``tables/permutation.*``, ``figures/permutation.*`` and ``manifests/permutation.json``.

    Args:
        spec: what to do.
        results: folder of the run.

    Returns:
        The table.

    Raises:
        ValueError: for a nowcaster that is no NiNo, or sizes that do not fit.
        FileNotFoundError: for weights that are not there.
    """
    start = time.perf_counter()
    net = load_nowcaster(spec.nowcaster) if spec.nowcaster else random_network(spec.hidden, spec.seed)
    if not isinstance(net, NiNoNet):
        raise ValueError(
            f"`nowcaster` (={spec.nowcaster!r}) holds a {type(net).__name__}; graphs are embedded by a NiNo"
        )
    studied = embeddings(net, TOPOLOGIES, spec.width, spec.heads, spec.permutations, spec.seed)
    result = table([score(e, spec.seed) for e in studied], spec)
    figures = draw(studied, results / "figures" / NAME)
    write_study(results, result, spec, time.perf_counter() - start, spec.nowcaster, figures)
    return result
