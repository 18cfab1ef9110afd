"""The sampler against a slow, obvious version, and what chance may decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from nino.graphs import NeuralGraph
from nino.metatrain import Draw, WindowSampler
from nino.specs import MetatrainSpec
from nino.trajectories import TrajectoryReader

Source = tuple[NeuralGraph, TrajectoryReader]


def _obvious(source: Source, draw: Draw, spec: MetatrainSpec) -> tuple[torch.Tensor, ...]:
    """States, targets, mask and node positions, a number at a time."""
    graph, reader = source
    with h5py.File(reader.path) as file:
        stored = file["params"][draw.trajectory].astype(np.float32)
        steps = file["step"][:].tolist()
    small = graph
    if draw.rows is not None:
        small, kept = graph.sample_words(torch.from_numpy(draw.rows))
        stored = stored[:, kept.numpy()]
    windows, context, horizon = spec.windows_per_trajectory, spec.context, spec.max_horizon
    states = torch.zeros(windows, stored.shape[1], context)
    targets = torch.zeros(windows, stored.shape[1], horizon)
    mask = torch.zeros(windows, horizon, dtype=torch.bool)
    for window in range(windows):
        for position in range(context + horizon):
            step = steps[draw.start] + (window + position) * draw.stride * reader.state_every
            if step not in steps:
                continue
            values = torch.from_numpy(stored[steps.index(step)])
            if position < context:
                states[window, :, position] = values
            else:
                targets[window, :, position - context] = values
                mask[window, position - context] = True
    lpe = (small.lpe(8) * torch.from_numpy(draw.signs)).expand(windows, -1, -1)
    return states, targets, mask, lpe


@pytest.mark.parametrize("stride", [2, 4, (2, 4)])
def test_equals_the_obvious_version(
    digits: Source, pydoc: Source, recipe: MetatrainSpec, stride: int | tuple[int, ...]
) -> None:
    sources = {"digits-4": digits, "pydoc-1-8": pydoc}
    spec = replace(recipe, window_stride=stride, context=3, validation_models=1)
    sampler = WindowSampler(sources, spec)
    tasks, strides, cut = set(), set(), False
    for iteration in range(8):
        draws, batch = sampler.draws(iteration), sampler.batch(iteration)
        assert len(draws) == len(batch) == 3
        for draw, windows in zip(draws, batch, strict=True):
            states, targets, mask, lpe = _obvious(sources[draw.task], draw, spec)
            assert torch.equal(windows.states, states)
            assert torch.equal(windows.targets, targets)
            assert torch.equal(windows.mask, mask)
            assert torch.equal(windows.lpe, lpe)
            assert windows.states.dtype == torch.float32
            assert windows.graph.num_parameters == states.shape[1]
            assert bool(mask.any(dim=1).all())  # each window has a target
            tasks.add(draw.task)
            strides.add(draw.stride * sources[draw.task][1].state_every)
            cut = cut or not bool(mask.all())
    assert tasks == set(sources) and strides == set(spec.strides) and cut


def test_windows_of_each_stride_start_within_as_many_strides(digits: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits}, replace(recipe, window_stride=(2, 6), start_within=3))
    starts: dict[int, set[int]] = {}
    for draw in (draw for i in range(60) for draw in sampler.draws(i)):
        starts.setdefault(draw.stride, set()).add(draw.start)
    assert starts == {1: {0, 1, 2}, 3: set(range(9))}  # in stored states, two steps apart
    assert {(draw.stride, draw.start) for draw in sampler.validation_draws()} == {
        *((1, start) for start in (0, 1, 2)),
        *((3, start) for start in (0, 4, 8)),
    }


def test_word_rows_are_sorted_unique_and_known_by_their_ids(pydoc: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"pydoc-1-8": pydoc}, recipe)
    draw, windows = sampler.draws(0)[0], sampler.batch(0)[0]
    assert draw.rows is not None and len(draw.rows) == 40
    assert (np.diff(draw.rows) > 0).all()
    assert windows.graph.word_nodes is not None and windows.graph.word_nodes.size == 40
    ids = windows.graph.word_index()[windows.graph.word_nodes.slice] - 1
    assert ids.tolist() == draw.rows.tolist()
    full = pydoc[1].states(draw.trajectory, [draw.start])[0]
    embedding = next(p for p in pydoc[1].parameters if p.shape == (256, 8))
    rows = torch.from_numpy(full[embedding.slice].reshape(256, 8)[draw.rows]).float()
    first = windows.states[0, :, 0]
    small = next(p for p in windows.graph.parameters if p.name == embedding.name)
    assert torch.equal(first[small.slice].view(40, 8), rows)


def test_all_words_where_there_are_no_more_than_wanted(pydoc: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"pydoc-1-8": pydoc}, replace(recipe, words=256))
    assert sampler.draws(0)[0].rows is None
    assert sampler.batch(0)[0].graph is pydoc[0]


def test_positions_of_every_sample_of_words_are_the_same(pydoc: Source, recipe: MetatrainSpec) -> None:
    """The sampler computes them once: only the ids differ from sample to sample."""
    graph = pydoc[0]
    rng = np.random.default_rng(0)
    samples = [graph.sample_words(torch.from_numpy(np.sort(rng.choice(256, 40, replace=False))))[0] for _ in range(2)]
    assert torch.equal(samples[0].lpe(8), samples[1].lpe(8))


def test_chance_is_fair_and_leaves_held_out_alone(digits: Source, pydoc: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits, "pydoc-1-8": pydoc}, replace(recipe, validation_models=2))
    assert sampler.held_out == {"digits-4": [4, 5], "pydoc-1-8": [1, 2]}
    draws = [draw for iteration in range(700) for draw in sampler.draws(iteration)]
    tasks = Counter(draw.task for draw in draws)
    assert abs(tasks["digits-4"] / len(draws) - 0.5) < 0.05  # 2100 draws: standard deviation 0.011
    trajectories = Counter(draw.trajectory for draw in draws if draw.task == "digits-4")
    assert set(trajectories) == {0, 1, 2, 3}
    assert max(trajectories.values()) < 1.3 * min(trajectories.values())
    starts = {draw.start for draw in draws if draw.task == "digits-4"}
    assert starts == set(range(81 - (2 - 1 + 5)))
    signs = np.stack([draw.signs for draw in draws])
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert (abs(signs.mean(axis=0)) < 0.12).all()


def test_an_iteration_needs_no_history(digits: Source, recipe: MetatrainSpec) -> None:
    one, other = (WindowSampler({"digits-4": digits}, recipe) for _ in range(2))
    for iteration in range(5):
        one.batch(iteration)
    assert torch.equal(one.batch(7)[0].values, other.batch(7)[0].values)
    reseeded = WindowSampler({"digits-4": digits}, replace(recipe, seed=2))
    assert [d.start for i in range(4) for d in reseeded.draws(i)] != [d.start for i in range(4) for d in one.draws(i)]


def test_validation_is_fixed_and_held_out(digits: Source, pydoc: Source, recipe: MetatrainSpec) -> None:
    sampler = WindowSampler({"digits-4": digits, "pydoc-1-8": pydoc}, replace(recipe, validation_models=2))
    first, again = list(sampler.validation()), list(sampler.validation())
    assert [(w.task, w.trajectory) for w in first] == [
        (task, trajectory) for task, both in sampler.held_out.items() for trajectory in both for _ in range(3)
    ]
    assert [w.start for w in first[:3]] == [0, 37, 74]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.values, other.values) and torch.equal(one.lpe, other.lpe)
    assert torch.equal(first[0].positions, digits[0].lpe(8))


def test_the_first_networks_are_fitted_to_and_the_last_held_out(digits: Source, recipe: MetatrainSpec) -> None:
    every = WindowSampler({"digits-4": digits}, replace(recipe, validation_models=2))
    assert every.training == {"digits-4": [0, 1, 2, 3]} and every.held_out == {"digits-4": [4, 5]}
    few = WindowSampler({"digits-4": digits}, replace(recipe, validation_models=2, models=2))
    assert few.training == {"digits-4": [0, 1]} and few.held_out == every.held_out
    assert {draw.trajectory for i in range(20) for draw in few.draws(i)} == {0, 1}
    same = WindowSampler({"digits-4": digits}, replace(recipe, validation_models=2, models=4))
    assert [d.trajectory for d in same.draws(3)] == [d.trajectory for d in every.draws(3)]


def test_recipes_that_do_not_fit(digits: Source, pydoc: Source, recipe: MetatrainSpec) -> None:
    with pytest.raises(ValueError, match="`sources` is empty"):
        WindowSampler({}, recipe)
    with pytest.raises(ValueError, match=r"`window_stride` \(=3\) must be a multiple of the 2 steps"):
        WindowSampler({"digits-4": digits}, replace(recipe, window_stride=3))
    with pytest.raises(ValueError, match=r"trajectories of 20 steps are too short.*96 steps at least"):
        WindowSampler({"pydoc-1-8": pydoc}, replace(recipe, window_stride=16))
    with pytest.raises(ValueError, match=r"`models` \(=6\) networks to fit to, but 5 of 6 did not diverge"):
        WindowSampler({"digits-4": digits}, replace(recipe, models=6, validation_models=1))
    with pytest.raises(ValueError, match=r"6 of 6 trajectories did not diverge, too few.*`validation_models` \(=6\)"):
        WindowSampler({"digits-4": digits}, replace(recipe, validation_models=6))
    with pytest.raises(ValueError, match="the graph has parameter .*conv1.weight"):
        WindowSampler({"pydoc-1-8": (digits[0], pydoc[1])}, recipe)


def test_the_shortest_trajectory_that_fits(pydoc: Source, recipe: MetatrainSpec) -> None:
    """20 steps, 2 windows of 4 states and a target, 4 steps apart: exactly one start."""
    sampler = WindowSampler({"pydoc-1-8": pydoc}, replace(recipe, window_stride=4, context=4))
    assert {draw.start for i in range(20) for draw in sampler.draws(i)} == {0}
    assert sampler.batch(0)[0].mask.sum(dim=1).tolist() == [2, 1]
