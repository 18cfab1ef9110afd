"""A real GPT-2 trained by the Trainer on real text, with NiNo around its optimizer."""

from __future__ import annotations

import json

import pytest
import torch

from nino import NiNo
from nino.nowcasters import LineFit
from nino.offline import step
from nino.tasks.torchvision_ops import declare_missing_operators

declare_missing_operators()
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from nino.optim.callback import NowcastCallback, wrapper_of  # noqa: E402 (needs transformers)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*pin_memory.*:UserWarning", "ignore:Was asked to gather along dimension 0:UserWarning"
)


@pytest.fixture(scope="module")
def blocks():
    """CPython's own help on its language, as bytes."""
    from pydoc_data.topics import topics

    text = "".join(topics[name] for name in sorted(topics))[: 64 * 32]
    return [{"input_ids": (ids := torch.tensor(list(text[i : i + 32].encode("latin-1", "replace")))), "labels": ids}
            for i in range(0, len(text), 32)]  # fmt: skip


def small_gpt2():
    config = transformers.GPT2Config(
        vocab_size=256, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(config)


def trainer_of(folder, blocks, steps=12, callbacks=None, accept="finite", **options):
    model = small_gpt2()
    opt = NiNo(
        torch.optim.AdamW(model.parameters(), lr=3e-3), None, model, period=5, max_train_steps=10,
        nowcaster=LineFit(), max_horizon=2, accept=accept,
    )  # fmt: skip
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=8, report_to=[], use_cpu=True, seed=0,
        save_steps=options.pop("save_steps", 1000), logging_steps=5, disable_tqdm=True, warmup_steps=2,
        lr_scheduler_type="cosine", **options,
    )  # fmt: skip
    callbacks = [NowcastCallback()] if callbacks is None else callbacks
    return opt, transformers.Trainer(
        model=model, args=arguments, train_dataset=blocks, optimizers=(opt, None), callbacks=callbacks
    )


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def batch_of(blocks):
    return {key: torch.stack([block[key] for block in blocks[:8]]) for key in blocks[0]}


def test_the_trainer_trains_schedules_and_reports(tmp_path, blocks):
    opt, trainer = trainer_of(tmp_path, blocks, callbacks=[NowcastCallback(batch_of(blocks))])
    trainer.train()
    assert opt.steps == 12 and opt.counts["kept"] == 2
    assert opt.param_groups[0]["lr"] < 1e-8  # the cosine has come to its end
    reports = [entry for entry in trainer.state.log_history if "nowcast_k" in entry]
    assert [(r["step"], r["nowcast_k"]) for r in reports] == [(5, 2.0), (10, 1.0)]
    for report in reports:
        assert report["nowcast_accepted"] == 1 and report["nowcast_norm"] > 0
        assert report["nowcast_loss_before"] > 1 and report["nowcast_loss_after"] > 1
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


class Heard(transformers.TrainerCallback):
    """Stands where the callbacks of W&B and TensorBoard do: before the user's."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append((state.global_step, dict(logs)))


def test_other_callbacks_hear_of_nowcasts_through_on_log(tmp_path, blocks, caplog):
    heard = Heard()
    opt, trainer = trainer_of(tmp_path, blocks, callbacks=[heard, NowcastCallback()])
    trainer.train()
    nowcasts = [(step, logs) for step, logs in heard.logs if "nowcast_k" in logs]
    assert [(step, logs["nowcast_k"]) for step, logs in nowcasts] == [(5, 2.0), (10, 1.0)]
    assert all(type(value) is float for _, logs in nowcasts for value in logs.values()) and "epoch" in nowcasts[0][1]
    assert "nowcast k=" not in caplog.text  # said once, by the Trainer


@pytest.mark.parametrize("stop", [4, 7])
def test_a_resumed_trainer_ends_with_the_same_bits(tmp_path, blocks, stop):
    _, whole = trainer_of(tmp_path / "whole", blocks, save_steps=stop)
    whole.train()
    _, resumed = trainer_of(tmp_path / "resumed", blocks)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    assert torch.equal(flat(whole.model), flat(resumed.model))
    kept = [entry for entry in resumed.state.log_history if "nowcast_k" in entry]
    assert [entry["step"] for entry in kept] == [5, 10]
    state = json.loads((tmp_path / "whole" / "checkpoint-12" / "trainer_state.json").read_text())
    assert len([entry for entry in state["log_history"] if "nowcast_k" in entry]) == 2


def test_a_saved_trainer_model_is_whole(tmp_path, blocks):
    opt, trainer = trainer_of(tmp_path, blocks, steps=6)
    trainer.train()
    trainer.save_model(str(tmp_path / "final"))
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "final")
    assert opt.counts["kept"] == 1 and torch.equal(flat(loaded), flat(trainer.model))


def test_a_trainer_resumes_from_an_offline_nowcast(tmp_path, blocks):
    _, first = trainer_of(tmp_path / "run", blocks, steps=10, save_steps=2)
    first.train()
    done = step(tmp_path / "run", LineFit(), 1, context=5)
    _, resumed = trainer_of(tmp_path / "resumed", blocks, steps=12)
    before = flat(transformers.GPT2LMHeadModel.from_pretrained(done.path))
    assert not torch.equal(before, flat(first.model))
    resumed.train(resume_from_checkpoint=str(done.path))
    assert done.steps == (2, 4, 6, 8, 10) and resumed.state.global_step == 12
    assert 0 < (flat(resumed.model) - before).abs().max() < 0.1


def test_the_batch_decides_where_asked(tmp_path, blocks):
    opt, trainer = trainer_of(tmp_path, blocks, callbacks=[NowcastCallback(batch_of(blocks))], accept="loss")
    opt.update_scale = 1000.0
    trainer.train()
    assert opt.counts["put back"] == 2 and opt.state[trainer.model.lm_head.weight]["step"] == 12


def test_gradient_accumulation_and_a_schedule_of_another_length(tmp_path, blocks, caplog):
    opt, trainer = trainer_of(tmp_path, blocks, steps=15, gradient_accumulation_steps=2)
    trainer.train()
    assert opt.steps == 15 and opt.counts["kept"] == 3
    assert "the run has 15 steps and so 3 nowcasts, but `max_train_steps` gave NiNo horizons for 2" in caplog.text


def test_another_optimizer_is_refused(tmp_path, blocks):
    model = small_gpt2()
    with pytest.raises(TypeError, match=r"is a SGD: pass `optimizers=\(NiNo\(...\), None\)`"):
        wrapper_of(torch.optim.SGD(model.parameters(), lr=1.0))
