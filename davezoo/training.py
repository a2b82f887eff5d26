"""The training commands: LightningCLI with packaged recipes, run folders and written results."""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ActionConfigFile, Namespace
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from davezoo.callbacks import DetectionsCollector, SaveOnInterrupt
from davezoo.checkpoints import data_of, load, read_own_checkpoint
from davezoo.dashboards import Dashboard, wandb_error
from davezoo.data import EventDataModule
from davezoo.errors import InputError
from davezoo.evaluation.predictions import PredictionTable, write_predictions
from davezoo.json_files import write_json
from davezoo.nn.complexity import count_complexity
from davezoo.options import (
    FROM_DATA,
    add_run_arguments,
    name_data_files,
    refuse_absent_recipes,
    refuse_settings_of_data,
    value_of,
)
from davezoo.provenance import describe_run, read_training
from davezoo.recipes import find_recipe, with_data_settings
from davezoo.runs import (
    draw_timelines,
    find_checkpoint,
    keep_earlier_log,
    new_run_folder,
    write_into,
    write_test_results,
)
from davezoo.task import EventLocalizer

_log = logging.getLogger("lightning.pytorch")

_HARMLESS_WARNINGS = (
    "LightningCLI's args parameter",  # the words are those of the command line, in effect
    "Be aware that when using `ckpt_path`",  # callbacks of training are not needed to test
    ".*isinstance.treespec, LeafSpec.",  # Lightning's own use of PyTorch, fixed after 2.6.6
    "You're resuming from a checkpoint that ended before the epoch ended",  # the sampler skips
    "Precision .* is not supported by the model summary",  # only its estimate of the size is off
    "Experiment logs directory .* exists and is not empty",  # the log was moved aside before
    "This DataLoader will create .* worker processes",  # more than cores: they take turns
    "Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its folder
)


class RecipeFile(ActionConfigFile):
    """`--config`: a file, or the name of a packaged recipe."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Read the file or the packaged recipe of that name."""
        self.apply_config(parser, cfg, self.dest, with_data_settings(find_recipe(values)))


class DaveCLI(LightningCLI):
    """Fit, validate, test and predict.

    Everything of a run lies in one folder, `--trainer.default_root_dir`, by default
    `runs/<method>/<time>`: merged config, CSV log, checkpoints, detections, result and report.

    Args:
        words: the command and its options.
        links_data: let the model take classes, widths, length, grids and what else `FROM_DATA`
            names from the data; not where a checkpoint has settled them.
    """

    def __init__(self, words: list[str], *, links_data: bool = True) -> None:
        self._links_data = links_data
        self._epoch: int | None = None  # of the checkpoint
        if links_data:
            refuse_settings_of_data(words)
        base = {"default_config_files": [find_recipe("base.yaml")]}  # what training runs share
        with warnings.catch_warnings():
            moved = ["The dirpath has changed"] if words[0] != "fit" else []  # a test saves nothing
            for message in [*_HARMLESS_WARNINGS, *moved]:
                warnings.filterwarnings("ignore", message)
            super().__init__(
                EventLocalizer,
                EventDataModule,
                subclass_mode_model=True,
                auto_configure_optimizers=False,  # a method brings its optimiser and schedule
                seed_everything_default=0,
                save_config_callback=SaveConfigCallback if words[0] == "fit" else None,
                save_config_kwargs={"overwrite": True},
                parser_kwargs={"fit": base},
                args=name_data_files(words),
            )

    # Parsing --------------------------------------------------------------------------------------

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Return a parser whose `--config` knows the packaged recipes."""
        parser = LightningArgumentParser(**kwargs)
        parser.add_argument(
            "-c", "--config", action=RecipeFile, help="Recipe: a file or a packaged name."
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our own arguments; let the model take what the data knows."""
        add_run_arguments(parser)
        if self._links_data:
            for name in FROM_DATA:
                target = f"model.init_args.{name}"
                parser.link_arguments(f"data.{name}", target, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; keep the checkpoint's settings from overruling the command line."""
        super().parse_arguments(parser, args)
        # Lightning would now merge the checkpoint's hyper-parameters over everything given.
        self._ckpt_path = self._config.get("ckpt_path")
        self._config.ckpt_path = None

    def before_instantiate_classes(self) -> None:
        """Choose the run folder and find the checkpoints `last` and `best`."""
        config = self._config
        root = config.trainer.default_root_dir
        runs = Path("runs") / config.model.class_path.rpartition(".")[2].lower()
        if self._ckpt_path in ("last", "best"):
            folders = [Path(root)] if root else runs.glob("*")
            self._ckpt_path = str(find_checkpoint(folders, self._ckpt_path))
        if self._ckpt_path is not None:
            self._origin = read_own_checkpoint(self._ckpt_path)
            if self.subcommand == "fit":  # go on in the same folder
                root = Path(self._ckpt_path).parents[1]
        self.run_folder = Path(root) if root else new_run_folder(runs)
        config.trainer.default_root_dir = str(self.run_folder)
        self._given_logger = deepcopy(config.trainer.logger)
        write_into(self.run_folder, config.trainer.logger)
        config.ckpt_path = self._ckpt_path
        config.weights_only = True
        if self.subcommand in ("validate", "test"):
            config.verbose = False  # our own table says more
        if self.subcommand == "predict":
            config.return_predictions = False  # the collector keeps them

    @property
    def _config(self) -> Namespace:
        config: Namespace = self.config[self.config.subcommand]
        return config

    # Running --------------------------------------------------------------------------------------

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer; log to the run folder, and to the loggers that the recipe names."""
        folder = self.run_folder
        # As it was given, so that config.yaml starts a run that writes into a folder of its own.
        self._config.trainer.logger = self._given_logger
        chosen = self.config_init[self.subcommand].trainer.logger
        if chosen is not False:
            loggers = chosen if isinstance(chosen, list) else [chosen]
            loggers = [logger for logger in loggers if isinstance(logger, Logger)]
            if self.subcommand == "fit" and not any(isinstance(x, CSVLogger) for x in loggers):
                # First, because Lightning writes `config.yaml` where the first one writes.
                loggers.insert(0, CSVLogger(folder.parent, name=folder.name, version=""))
            kwargs["logger"] = loggers or False
        self.collector = DetectionsCollector()
        own: list[Callback] = [self.collector]
        if self.subcommand == "fit" and not self._config.trainer.fast_dev_run:
            own.append(SaveOnInterrupt(folder / "checkpoints" / "last.ckpt"))
        self.trainer_defaults = {"callbacks": own}
        trainer: Any = super().instantiate_trainer(**kwargs)
        if not trainer.loggers:
            monitors = [cb for cb in trainer.callbacks if isinstance(cb, LearningRateMonitor)]
            for monitor in monitors:  # nowhere to write to
                trainer.callbacks.remove(monitor)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(folder / "checkpoints")
        self.dashboards = [cb for cb in trainer.callbacks if isinstance(cb, Dashboard)]
        return trainer  # type: ignore[no-any-return]

    def after_instantiate_classes(self) -> None:
        """Refuse a checkpoint that does not fit before anything of an earlier run is touched."""
        if self._ckpt_path is not None:
            self.model.check_origin(self._origin)
            self._epoch = self._origin.get("epoch")
            del self._origin

    def before_fit(self) -> None:
        """Look at all data that are to be used; say what is there and how large the model is."""
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        if self._config.test_after_fit:
            self.datamodule.setup("test")
        keep_earlier_log(self.run_folder)
        if self.trainer.is_global_zero:
            manifest = self.datamodule.manifest("fit")
            sys.stdout.write(manifest.format_table())
            self.run_folder.mkdir(parents=True, exist_ok=True)
            write_json(self.run_folder / "manifest.json", manifest.to_dict(), indent=1)
        detector = self.model.detector
        count = count_complexity(detector, detector.max_length)
        _log.info(
            f"{type(self.model).__name__}: {count.layer_parameters / 1e6:.2f} M parameters in "
            f"convolution and linear layers ({count.parameters / 1e6:.2f} M in all), "
            f"{count.layer_macs / 1e9:.2f} GMACs for {detector.max_length} steps "
            f"and {count.attention_macs / 1e9:.2f} more in attention products."
        )

    def after_fit(self) -> None:
        """Test the best checkpoint if asked to, and say where everything lies."""
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        leads = self.trainer.is_global_zero
        if leads:
            sys.stdout.write(f"Run folder: {self.run_folder}\n")
            if best:
                sys.stdout.write(f"Best checkpoint: {best}\n")
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # one process is enough for what follows
        if leads and self._config.test_after_fit and best:
            # A model and trainer of their own: the callbacks of training would put the trained
            # weights in place of their average.
            self._ckpt_path = best
            self._epoch = read_own_checkpoint(best).get("epoch")
            self.model = load(best)
            settings = self._config.trainer
            self.trainer = Trainer(
                accelerator=settings.accelerator,
                precision=settings.precision,
                enable_progress_bar=settings.enable_progress_bar,
                logger=False,
                devices=1,
                callbacks=[self.collector],
                default_root_dir=self.run_folder,
                enable_model_summary=False,
            )
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
            self.after_test()
        if leads and best:
            sys.stdout.write(f"Next: davezoo test --ckpt_path {best}\n")
            sys.stdout.write(f"      davezoo predict --ckpt_path {best}\n")

    def after_validate(self) -> None:
        """Print the score."""
        self._print_score("validate")

    def after_test(self) -> None:
        """Print the score and write detections, result and report."""
        result = self._print_score("test")
        if self.trainer.is_global_zero:
            run = describe_run(
                result,
                self.model,
                self.datamodule,
                training=self._training(),
                epoch=self._epoch,
                device=self.trainer.strategy.root_device,
            )
            files = write_test_results(
                self._output(),
                self._table("test"),
                run,
                self.datamodule.ground_truth(self.datamodule.split_of("test")),
                f"{type(self.model).__name__} on {self.datamodule.root}",
                self.datamodule.blocked_videos,
            )
            for dashboard in self.dashboards:
                dashboard.log_test(run, files, Path(self._ckpt_path) if self._ckpt_path else None)
            sys.stdout.write("Wrote " + ", ".join(map(str, files)) + "\n")

    def after_predict(self) -> None:
        """Write the detections, and pictures of some videos if asked to."""
        if self.trainer.is_global_zero:
            table = self._table("predict")
            write_predictions(self._output(), table)
            count = len(self.collector.detections)
            sys.stdout.write(f"Wrote the detections of {count} videos to {self._output()}\n")
            sys.stdout.writelines(f"{note}\n" for note in self.datamodule.notes("predict"))
            split = self.datamodule.ground_truth(self.datamodule.split_of("predict"))
            folder = self._output().parent / "pictures"
            for path in draw_timelines(folder, table, split, self._config.pictures):
                sys.stdout.write(f"Wrote {path}\n")

    def _print_score(self, stage: str) -> Any:
        """Print the table of the metric; all processes must come by."""
        result = self.model.metric.result()
        if self.trainer.is_global_zero:
            sys.stdout.write(result.format_table())
            sys.stdout.writelines(f"{note}\n" for note in self.datamodule.notes(stage))
        return result

    def _training(self) -> dict[str, Any] | None:
        """Return the merged configuration of the training; None where it is not known."""
        if self.subcommand == "fit":
            text = self._parser("fit").dump(self._config, skip_none=False)
            settings: dict[str, Any] = yaml.safe_load(text)
            return settings
        return None if self._ckpt_path is None else read_training(Path(self._ckpt_path))

    def _output(self) -> Path:
        output = self._config.output
        return Path(output) if output else self.run_folder / "detections.json"

    def _table(self, stage: str) -> PredictionTable:
        """Return what was found, videos in the order of the annotation file."""
        found = self.collector.detections
        order = self.datamodule.ground_truth(self.datamodule.split_of(stage)).videos.index
        events = {video: found[video] for video in order if video in found}
        # The names are the model's: data to predict may have other classes, or none.
        return PredictionTable.from_events(
            events,
            self.model.detected_class_names,
            version=f"davezoo {type(self.model).__name__}",
        )


def run_training_command(words: list[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`.

    Beside `--ckpt_path` no recipe is needed: the checkpoint brings method, settings and what the
    features looked like; further options overrule it.

    Args:
        words: the command and its options.
    """
    try:
        _run(words)
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)  # as shells report it; Lightning's exception says 0
    except wandb_error() as error:
        raise InputError(
            f"Expected W&B to take the run, got: {error}; without an account or network set "
            "WANDB_MODE=offline."
        ) from error


def _run(words: list[str]) -> None:
    """Run a command, with the settings of its checkpoint if that stands in for a recipe."""
    path = _own_checkpoint(words)
    if path is None:
        refuse_absent_recipes(words)
        DaveCLI(words)
        return
    content = read_own_checkpoint(path)
    origin = content["davezoo"]
    recipe = {
        "model": {"class_path": f"davezoo.{origin['method']}", "init_args": origin["settings"]},
        "data": data_of(content),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.yaml"
        file.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
        DaveCLI(
            [words[0], "--config", str(file), *words[1:], "--ckpt_path", str(path)],
            links_data=False,
        )


def _own_checkpoint(words: list[str]) -> Path | None:
    """Return the checkpoint that stands in for a recipe, if one does."""
    names = [word.partition("=")[0] for word in words]
    if words[0] == "fit" or {"-c", "--config", "--model"} & set(names):
        return None
    if "--ckpt_path" not in names:
        return None
    path = value_of(words, "--ckpt_path") or ""
    if path in ("last", "best"):
        root = value_of(words, "--trainer.default_root_dir")
        folders = [Path(root)] if root else Path("runs").glob("*/*")
        return find_checkpoint(folders, path)
    return Path(path)
