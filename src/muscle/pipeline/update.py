"""`muscle.update`: run the stages of an update that are not done yet, and return its report."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from muscle import distributed
from muscle.comparison import Shown
from muscle.config.update_file import UpdateConfig
from muscle.flips.result.report import Report
from muscle.models.adapter_check import check_adapter
from muscle.models.devices import SLOW
from muscle.models.tokenizers import same_vocabulary
from muscle.pipeline.given.notes import given_prompt_notes
from muscle.pipeline.loaded_bases import with_fitting_method
from muscle.pipeline.report.write_report import write_cards
from muscle.pipeline.run_folder import RunFolder, content_of
from muscle.pipeline.stage import Stage
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.token_counts import option_trees
from muscle.progress import told_once
from muscle.report import read_report
from muscle.training.reporting import check_reporters

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class UpdateResult(Shown):
    """What an update left behind.

    Attributes:
        folder: the run folder.
        report: old against new and against the compatibility adapter, as in `report.json`.
        num_stages_run: stages that ran this time; 0 when everything was done before.
    """

    folder: Path
    report: Report
    num_stages_run: int


@told_once(SLOW)
def update(config: UpdateConfig) -> UpdateResult:
    """Run all stages of an update that are not done yet.

    Args:
        config: from `load_config`, or built in Python.

    Returns:
        The run folder and the report.

    Raises:
        MuscleError: an input is wrong; what is done so far is kept, and the next call goes on there.
    """
    update_stages = UpdateStages(with_fitting_method(config))
    run = RunFolder(update_stages.folder)
    with run.locked():
        stages = update_stages.all()
        try:
            _check_inputs(update_stages, stages, run)
            for stage in stages:
                if stage.work is not None:
                    run.stage(stage.name, stage.inputs(), stage.outputs, stage.work)
        finally:
            update_stages.bases.free()
        report = read_report(run.path / "report.json")[0]
        distributed.from_main(lambda: write_cards(report, run.path))
    return UpdateResult(run.path, report, run.num_run)


def _check_inputs(update_stages: UpdateStages, stages: list[Stage], run: RunFolder) -> None:
    """Find what is wrong with the inputs before hours of training are spent."""
    trained = [update_stages.adapter(run, name) for run in update_stages.methods for name in update_stages.data]
    all_trained = all(content_of(path) for path in trained)
    if not all_trained:
        check_reporters(update_stages.config.training.report_to)
    _ = update_stages.fingerprints  # finds a base that is not there
    if update_stages.record is not None:
        for data in update_stages.data.values():
            logger.info("%s", update_stages.record.check(data))
    if update_stages.config.evaluation.backend == "vllm":
        _check_vllm(update_stages, stages, run)
    if all_trained:
        return  # was checked when it was trained; a run that has nothing to do loads no model
    bases = update_stages.bases
    for task in (data.task for data in update_stages.data.values() if data.task.prompt.chat_template):
        for side in update_stages.sides:
            task.prompt.form(bases.base(side).tokenizer)  # refuses a base without a template
    for side in update_stages.sides:
        for path in update_stages.given(side).values():
            check_adapter(bases.base(side), path)
    for note in given_prompt_notes(update_stages, {side: bases.base(side).tokenizer for side in update_stages.sides}):
        logger.warning("%s", note)
    for alignment in update_stages.methods.values():
        for folder in (each for name in update_stages.data for each in alignment.teachers_of(name)):
            check_adapter(bases.base("new"), Path(folder))
    _check_options(update_stages)
    # An option's likelihood is comparable whatever the tokens.
    on_tokens = any(alignment.unit == "tokens" for alignment in update_stages.methods.values())
    if on_tokens and not same_vocabulary(bases.base("old"), bases.base("new")):
        from muscle.training.crossing.spelling import Spelling

        for side in update_stages.sides:
            Spelling.of(bases.base(side).tokenizer)  # refuses a kind whose tokens cannot be aligned


def _check_options(update_stages: UpdateStages) -> None:
    """Find an option that is too long to be learnt from before the adapters are trained that come first.

    The controls read a part of what their method reads.
    """
    for run, alignment in update_stages.methods.items():
        max_length = update_stages.config.align_training(alignment).max_length
        for data in update_stages.data.values() if alignment.unit == "options" else ():
            stage = update_stages.align(data, run)
            examples = (*data.train, *data.validation, *stage.unlabelled)
            for side in {stage.side, *stage.teachers}:
                option_trees(stage, data, examples, update_stages.bases.base(side).tokenizer, max_length)


def _check_vllm(update_stages: UpdateStages, stages: list[Stage], run: RunFolder) -> None:
    from muscle.evaluation.vllm_base import check_vllm

    scoring = [stage for stage in stages if stage.data is not None and stage.epochs is None]
    if all(run.is_done(stage.name, stage.inputs()) for stage in scoring):
        return
    check_vllm(
        map(update_stages.bases.settings, update_stages.sides), (each.task for each in update_stages.data.values())
    )
    if distributed.num_processes() > 1:
        logger.warning(
            "evaluation.backend vllm scores in one process: these %d train, then this command stops; run it again "
            "without the launcher to score",
            distributed.num_processes(),
        )
