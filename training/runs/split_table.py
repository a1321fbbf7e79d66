"""The papers' experiment: every network on splits at random, by artist, by source, side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ...engine.arrays import Float32
from ...engine.data.clip import heard_clips
from ...engine.errors import MerError
from ...engine.text.escape import for_markdown
from ..data.examples import Examples
from ..data.recording_facts import FACTS, FACTS_VERSION, recording_facts
from ..data.splits import Split, hash_of_lines, splits_from_protocol
from ..embeddings.head import fit_head, logits_from_head
from ..evaluate.figures import Matrix, curve_grid_png, matrix_grid_png
from ..evaluate.metrics_report import metrics_from_predictions, write_json
from ..evaluate.predictions import Predictions, fit_temperature, pooled, predictions_from_logits
from ..names import name_of
from .announcements import announcement
from .crossvalidation import Training, cross_validate
from .observer import Observer
from .plan_check import check_plan
from .results_section import this_machine, write_section
from .run_folder import METRICS, FinishedRun, run_from_folder
from .session import read_examples
from .split_plan import RANDOM, RECORDING, Row, SplitPlan
from .train_run import train_split

_Runs = Mapping[tuple[Row, str], FinishedRun | None]

_PICTURES = "splits"
_OF_A_CELL = (
    "songs", "macro_f1", "macro_f1_interval", "accuracy", "majority", "confusion", "per_label", "minutes",
)  # fmt: skip


def fill_split_table(plan: SplitPlan, results: Path, command: str, observer: Observer) -> int:
    """Trains each row on each split, the cheap ones first; writes the table after each, at last its pictures.

    What is finished is not done again, and what fails is named in the table and does not stop the others.

    Args:
        results: the Markdown file; the pictures are in a folder ``splits`` beside it.
        command: how the table was made, for that file.

    Returns:
        How many trainings failed, and clips could not be read.

    Raises:
        UsageError, MerError: see ``SplitPlan.rows``; or the results cannot be written.
    """
    table = _Table(plan, results, command, observer)
    for note in dict.fromkeys(note for data in plan.data.values() for note in data.notes):
        observer.say(note)
    for row in sorted(table.rows, key=lambda row: row.cost):
        table.write()
        for split in plan.data:
            observer.say(f"{row.key}, {split}")
            try:
                table.fill(row, split)
            except (MerError, RuntimeError) as error:  # torch has no other class for a lack of memory
                table.reasons[row, split] = str(error)
                observer.say(f"{row.key}, {split}: failed: {error}")
    table.write(pictures=True)
    return len(table.reasons) + max((len(heard.skipped) for heard in table.heard.values()), default=0)


class _Table:
    """``reasons`` are of what failed; ``heard`` are the clips as networks hear them, each way once.

    ``_facts`` are those of recordings, by a clip's id.
    """

    def __init__(self, plan: SplitPlan, results: Path, command: str, observer: Observer) -> None:
        self.plan, self.rows = plan, plan.rows()
        self.reasons: dict[tuple[Row, str], str] = {}
        self.heard: dict[Hashable, Examples] = {}
        self._facts: dict[str, Float32 | MerError] = {}
        self._results, self._command, self._observer = results, command, observer

    def fill(self, row: Row, split: str) -> None:
        """Trains and tests a row on a split, unless that is done.

        Raises:
            UsageError, MerError: see ``check_plan``, ``read_examples`` and ``train_split``; or the weights
                have heard clips to test on.
        """
        session, observer = self.plan.session(row, split), self._observer
        if row.protocol != RECORDING:  # which has no network
            check_plan(session, observer)
        protocol = session.protocol_of(row.model)
        way = session.data, protocol.audio, protocol.recipe.eval_windows, protocol.sub_clips
        if way not in self.heard:
            self.heard[way] = read_examples(session, observer)[row.model]
        examples = self.heard[way]
        splits = splits_from_protocol(
            examples.clips, protocol, session.splits[0], session.folds, examples.recordings
        )
        if row.protocol == RECORDING:
            self._judge_recordings(examples, splits, session.out)
            return
        heard = heard_clips(examples.clips, session.begun.provenance) if session.begun else None
        if heard := (heard or set()) & {int(i) for part in splits for i in part.test}:
            raise MerError(f"{name_of(row.weights)} was trained on {len(heard)} of the clips to test")
        observer.say(announcement(examples, splits, protocol, row.model))
        job = session.job(row.model, protocol)
        if session.folds:
            trainings = [Training(job, examples, part) for part in splits]
            cross_validate(trainings, session.out, session.mode, observer)
        else:
            train_split(job, examples, splits[0], session.out, session.mode, observer)

    def _judge_recordings(self, examples: Examples, splits: Sequence[Split], out: Path) -> None:
        """Logistic regression on level, band and bitrate: what it reads above chance is no music."""
        labels = (f"{clip.id}:{clip.label}" for clip in examples.clips)
        how = str(FACTS_VERSION), *FACTS
        key = hash_of_lines([*how, *examples.labels, *labels, *(split.hash for split in splits)])
        run = _finished(out)
        if run and run.metrics.get("key") == key:
            return
        # Of the clips that can be read, once for all splits.
        new = [clip for clip in examples.readable if clip.id not in self._facts]
        facts = recording_facts(new, self.plan.workers) if new else []
        self._facts |= {clip.id: of_clip for clip, of_clip in zip(new, facts, strict=True)}
        rows: list[Float32] = []
        for clip in examples.clips:
            facts = self._facts[clip.id]
            if isinstance(facts, MerError):  # labelling heard it
                raise MerError(f"{clip.path}: {facts}")
            rows.append(facts[None])
        predictions = pooled([_predictions(rows, examples, split) for split in splits])
        metrics = metrics_from_predictions(predictions, fit_temperature(predictions))
        out.mkdir(parents=True, exist_ok=True)
        write_json({**metrics, "minutes": 0.0, "key": key}, out / METRICS)

    def write(self, pictures: bool = False) -> None:
        """Writes what is finished, with links to the pictures that are there."""
        plan, results = self.plan, self._results
        runs = {(row, split): _finished(plan.folder(row, split)) for row in self.rows for split in plan.data}
        folder = results.parent / _PICTURES
        files = [folder / f"{plan.name}-{what}.png" for what in ("matrices", "curves")]
        if pictures:
            folder.mkdir(parents=True, exist_ok=True)
            self._draw(runs, *files)
        heads = ["protocol", "network", "begins with", *map(_title, plan.data), "epochs", "minutes"]
        drawn = [file for file in files if file.exists()]
        lines = [
            f"`{self._command}`, on {this_machine()}.",
            "",
            "Of each split: macro-F1 (95 % interval), accuracy, songs tested. The most frequent label alone "
            f"has an accuracy of {_majorities(runs)}.",
            "",
            f"| {' | '.join(heads)} |",
            "|---" * (3 + len(plan.data)) + "|---:|---:|",
            *(_row_text(plan, row, runs, self.reasons) for row in self.rows),
            "",
            *(f"![{for_markdown(file.stem)}]({_PICTURES}/{quote(file.name)})" for file in drawn),
        ]
        write_section(results, "table of splits", lines)

    def _draw(self, runs: _Runs, matrices: Path, curves: Path) -> None:
        by_row = {
            _name(row): {_title(split): run for split in self.plan.data if (run := runs[row, split])}
            for row in self.rows
        }
        columns = [_title(split) for split in self.plan.data]
        grid = {row: {split: _matrix(run) for split, run in by.items()} for row, by in by_row.items() if by}
        if grid:
            matrix_grid_png(grid, columns, matrices)
        histories = {row: {split: run.history for split, run in by.items()} for row, by in by_row.items()}
        drawn = {row: by for row, by in histories.items() if any(len(epochs) > 1 for epochs in by.values())}
        if drawn:
            curve_grid_png(drawn, columns, curves)


def _predictions(rows: Sequence[Float32], examples: Examples, split: Split) -> Predictions:
    fitted = [*split.training, *split.validation]
    head = fit_head([rows[i] for i in fitted], [examples.clips[i] for i in fitted], examples.labels)
    logits = logits_from_head(head.layer, [rows[i] for i in split.test])
    return predictions_from_logits(logits, examples, split.test)


def _finished(folder: Path) -> FinishedRun | None:
    """None where nothing is finished or its metrics are damaged; ``fill`` says which."""
    with suppress(MerError):
        return run_from_folder(folder, _OF_A_CELL)
    return None


def _matrix(run: FinishedRun) -> Matrix:
    return run.metrics["confusion"], tuple(run.metrics["per_label"])


def _majorities(runs: _Runs) -> str:
    """Of the protocols' test parts, whose labels may differ."""
    shares = sorted({round(run.metrics["majority"], 2) for run in runs.values() if run})
    return f"{shares[0]:.2f} to {shares[-1]:.2f}" if shares else "-"


def _title(split: str) -> str:
    return "at random" if split == RANDOM else f"by {split}"


def _name(row: Row) -> str:
    """Of a row in a picture."""
    return "\n".join(filter(None, (row.protocol, row.title, row.begins_with if row.plan != "all" else "")))


def _row_text(plan: SplitPlan, row: Row, runs: _Runs, reasons: Mapping[tuple[Row, str], str]) -> str:
    done = [run for split in plan.data if (run := runs[row, split])]
    recipe = done[0].metrics.get("recipe", {}) if done else {}
    begins = row.begins_with + (", head alone" if recipe.get("layers") == "head" else "")
    alone = row.plan == "frozen" or not done
    labels = plan.labels_of(row.protocol)
    own = f" ({', '.join(labels)})" if labels != plan.labels else ""
    cells = [
        "the recording alone" if row.protocol == RECORDING else f"{row.protocol}{own}",
        row.title,
        begins or "level, band, bitrate",
        *(_cell(runs[row, split], reasons.get((row, split), "")) for split in plan.data),
        "" if alone else str(max(run.metrics["epochs"] for run in done)),
        f"{sum(run.metrics['minutes'] for run in done):.1f}" if done else "",
    ]
    return f"| {' | '.join(map(for_markdown, cells))} |"


def _cell(run: FinishedRun | None, reason: str) -> str:
    if reason:
        return f"failed: {reason if len(reason) < 100 else reason[:99] + '…'}"
    if run is None:
        return "not finished"
    interval = run.metrics["macro_f1_interval"]
    ends = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return f"{run.metrics['macro_f1']:.3f}{ends}, {run.metrics['accuracy']:.3f}, {run.metrics['songs']}"
