"""Rows of metrics, made from what is logged of the steps."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from data.sampling.stream import epoch
from train.config import TrainConfig
from train.log import Window
from train.mesh import peak_flops
from train.metrics import MetricsRow, peak_memory
from train.optimizer import learning_rate
from train.plan import Plan
from train.schedule.decay import decay_factor
from train.schedule.segments import Segment
from train.step import StepMetrics


class Record(NamedTuple):
    """The metrics of so many `steps` of a segment. M is the number of a population's members."""

    metrics: StepMetrics
    """Arrays [K], of which the first `steps` numbers are the steps'; of a population [K, M]."""
    steps: int
    measured: Any
    """The dev loss (`Measured`) if it was measured after them, else None; of a population one by member's number."""
    segment: Segment

    @property
    def numbers(self) -> np.ndarray:
        """The metrics of the steps, float64 [steps, metrics]. Waits for them to be computed."""
        return np.stack([np.asarray(x, np.float64)[: self.steps] for x in jax.device_get(self.metrics)], axis=1)

    def of_member(self, number: int) -> "Record":
        """What a run alone would log of a member's steps."""
        metrics = StepMetrics(*(values[:, number] for values in self.metrics))
        return self._replace(metrics=metrics, measured=(self.measured or {}).get(number))


def rows_of(config: TrainConfig, plan: Plan) -> Callable[[Window[Record]], MetricsRow]:
    """A function from the metrics of several steps to a row."""
    schedule = learning_rate(config.optimizer, config.batch, plan.steps[-1])
    peak = peak_flops(plan.agent.dtype)
    of_epoch = epoch(plan.store)

    def row_of(window: Window[Record]) -> MetricsRow:
        steps = np.concatenate([record.numbers for record in window.records])
        applied = steps[:, StepMetrics._fields.index("skipped")] == 0
        means = steps[applied].mean(axis=0) if applied.any() else np.full(steps.shape[1], math.nan)
        mean, last = (dict(zip(StepMetrics._fields, row.tolist(), strict=True)) for row in (means, steps[-1]))
        measured, segment = window.records[-1].measured, window.records[-1].segment
        dev = measured and measured.row
        seconds = window.seconds - (measured.seconds if measured else 0)
        samples, of_run = plan.sampler.samples(window.step), plan.samples_of_run(segment, window.step)
        factor = decay_factor(np.int32(window.step - 1), np.array(segment.decay, np.int32), config.optimizer.decay_to)
        rate = (samples - plan.sampler.samples(window.after)) / seconds
        return MetricsRow(
            step=window.step,
            branch=segment.branch,
            samples=samples,
            epochs=samples / of_epoch,
            flops=float(plan.flops[config.convention] * samples),
            run_steps=window.step + segment.offset,
            run_flops=float(plan.flops[config.convention] * of_run),
            loss=mean["loss"],
            top1=mean["top1"],
            top3=mean["top3"],
            entropy=mean["entropy"],
            grad_norm=last["grad_norm"],
            update_norm=last["update_norm"],
            lr=float(schedule(window.step - 1) * factor),
            dev_loss=dev and dev.loss,
            dev_loss_se=dev and dev.loss_se,
            dev_top1=dev and dev.top1,
            dev_top3=dev and dev.top3,
            dev_seconds=measured and measured.seconds,
            samples_per_s=rate,
            mfu=rate * plan.flops["exact"] / peak,
            input_wait=window.timed / seconds,
            skipped=int((~applied).sum()),
            device_memory=peak_memory(),
        )

    return row_of
