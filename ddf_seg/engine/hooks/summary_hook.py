"""Says at the end what came out and where it lies."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...command_line import near
from ..checks.output_names import check_names


class SummaryHook(Hook):
    """Ends a training or a test with its scores, and where checkpoints, log and pictures lie.

    Args:
        out: folder that a test writes predicted ids to.
        show_dir: folder that it writes pictures to.

    Attributes:
        tested: how many images have been tested.
    """

    # The last word
    priority = 'LOWEST'

    def __init__(self, out: str | None = None, show_dir: str | None = None) -> None:
        self.out = out
        self.show_dir = show_dir
        self.tested = 0
        self._scores: dict[str, Any] = {}
        self._trained = False

    def before_train(self, runner: Runner) -> None:
        self._trained = True
        parameters = dict(runner.model.named_parameters())
        fixed = [name for name, parameter in parameters.items() if not parameter.requires_grad]
        kept = f'; {len(fixed)} are kept as they are, e.g. {fixed[0]}' if fixed else ''
        runner.logger.info(
            f'Training {len(parameters) - len(fixed)} tensors of parameters{kept}. Settings, '
            f'environment and all messages: {log_file(runner)}'
        )

    def before_test(self, runner: Runner) -> None:
        if self.out:
            check_names(runner.test_dataloader.dataset, self.out)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._scores = metrics or {}

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.tested += len(outputs or ())

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._scores = metrics or {}

    def after_run(self, runner: Runner) -> None:
        lines = self._training(runner) if self._trained else self._test(runner)
        runner.logger.info('\n'.join(['Done.', *(f'  {line}' for line in lines)]))

    def _training(self, runner: Runner) -> list[str]:
        scores = self._scores
        lines = [f'trained:     {runner.iter} of {runner.max_iters} iterations']
        if scores:
            lines.append(f'validation:  {_listed(scores)}')
        known = runner.message_hub.runtime_info
        if 'last_ckpt' in known:
            lines.append(f'checkpoint:  {near(known["last_ckpt"])}')
        for key in known:
            if key.startswith('best_ckpt') and (score := key.replace('ckpt', 'score')) in known:
                lines.append(f'best one:    {near(known[key])} ({known[score]:.2f})')
        return [*lines, f'log:         {log_file(runner)}']

    def _test(self, runner: Runner) -> list[str]:
        lines = [f'scores:      {_listed(self._scores) or "none, no labels"}']
        if self._scores:
            lines.append(f'as JSON:     {log_file(runner).removesuffix(".log")}.json')
        for what, folder in (('predictions', self.out), ('pictures', self.show_dir)):
            if folder:
                lines.append(f'{what + ":":<12} {near(folder)}')
        return [*lines, f'log:         {log_file(runner)}']


def log_file(runner: Runner) -> str:
    """The file that a run's messages go to, as seen from the working directory."""
    return near(Path(runner.log_dir, f'{runner.timestamp}.log'))


def _listed(scores: dict[str, Any]) -> str:
    """The scores that are single numbers; first mIoU, by which segmentors are compared."""
    numbers = {key: value for key, value in scores.items() if isinstance(value, Real)}
    names = sorted(numbers, key=lambda name: name != 'mIoU')
    return ', '.join(f'{name} {numbers[name]:.2f}' for name in names)
