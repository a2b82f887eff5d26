"""What must hold on a GPU; skipped where there is none."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from davezoo.callbacks import EMA
from davezoo.cli import main
from tests.test_task import ODD, model
from tests.test_training import SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_predictions_equal_those_of_the_cpu() -> None:
    rng = np.random.default_rng(0)
    visual, audio = rng.normal(size=(50, 6)), rng.normal(size=(50, 4))
    module = model().eval()
    expected = module.predict(visual, audio)
    found = copy.deepcopy(module).cuda().predict(visual, audio)
    assert [event.label for event in found[:10]] == [event.label for event in expected[:10]]
    for ours, theirs in zip(found[:10], expected[:10], strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)
        assert ours.start == pytest.approx(theirs.start, abs=1e-2)


@pytest.mark.parametrize("case", ODD)
def test_a_training_step_never_waits_for_the_device(case: str) -> None:
    module, batch = model(drop_path=0.1).cuda().train(), ODD[case].to("cuda")
    for mode in ("default", "error"):  # the first call sets libraries up
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            losses = module.losses(module(batch.visual, batch.audio, batch.mask), batch)
            torch.stack(list(losses.values())).sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


class WhereIsTheAverage(Callback):
    """Look at the device of the running average while training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare it with that of the model."""
        average = next(cb for cb in trainer.callbacks if isinstance(cb, EMA))  # type: ignore[attr-defined]
        assert average._average_model is not None
        devices = {p.device for p in average._average_model.parameters()}
        assert devices == {pl_module.device}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_fit_and_test(precision: str, tmp_path: Path) -> None:
    small = [word for word in SMALL if "accelerator" not in word]
    words = [f"--data.root={tmp_path}/data", f"--trainer.default_root_dir={tmp_path}/run"]
    words += ["--trainer.accelerator=gpu", "--trainer.max_epochs=2", "--trainer.devices=1"]
    words += [f"--trainer.precision={precision}"]
    words += ["--trainer.callbacks+=tests.test_gpu.WhereIsTheAverage"]
    main(["fit", "--config=quickstart.yaml", *small, *words])
    assert (tmp_path / "run/result.json").is_file()
