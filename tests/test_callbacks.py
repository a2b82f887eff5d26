"""The running average and interruption (tests/test_training.py has more)."""

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from davezoo.callbacks import EMA


class Line(LightningModule):
    """One weight that every step raises by one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return -self.weight

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.seen.append(self.weight.item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def train(ema: EMA, steps: int) -> Line:
    model = Line()
    trainer = Trainer(
        max_epochs=1,
        callbacks=[ema],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, DataLoader(torch.zeros(steps, 1)), DataLoader(torch.zeros(1, 1)))
    return model


@pytest.mark.parametrize(("decay", "ramp_up"), [(0.9, False), (0.999, True), (0.5, True)])
def test_average_by_hand(decay: float, ramp_up: bool) -> None:
    expected = 1.0  # the first update copies the weights
    for step in range(1, 6):
        kept = min(decay, (1 + step) / (10 + step)) if ramp_up else decay
        expected = kept * expected + (1 - kept) * (step + 1)
    model = train(EMA(decay, ramp_up), steps=6)
    assert model.weight.item() == pytest.approx(expected, rel=1e-6)
    assert model.seen == [pytest.approx(expected, rel=1e-6)]  # validation uses it as well


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        EMA(decay)


def test_trained_weights_are_put_back_when_validation_stops() -> None:
    ema = EMA(0.9)
    model = Line()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    ema.setup(trainer, model, "fit")
    model.weight.data.fill_(5.0)  # the average still is 0
    ema.on_validation_epoch_start(trainer, model)
    assert model.weight.item() == 0
    ema.on_exception(trainer, model, KeyboardInterrupt())
    assert model.weight.item() == 5
    ema.on_exception(trainer, model, KeyboardInterrupt())
    assert model.weight.item() == 5
