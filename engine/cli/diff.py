"""mer-label diff: what another model, or another time, changed."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import MerError, os_errors_say
from ..text.streams import print_err, print_out
from .command import SETTINGS, QuietCommand, report_errors
from .words import NAMED_PATH


@click.command(cls=QuietCommand, context_settings=SETTINGS)
@click.argument("old", type=NAMED_PATH, metavar="OLD")
@click.argument("new", type=NAMED_PATH, metavar="NEW")
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, metavar="N", help="Songs to name, the surest first."
)
@click.option(
    "--csv", "table", type=NAMED_PATH, metavar="FILE", help="Every song that changed, the surest first."
)
@report_errors
def main(old: str, new: str, limit: int, table: str | None) -> int:
    """What changed from the labels in OLD to those in NEW.

    Both are folders that 'mer-label --out FOLDER/' wrote, of two models, or of one at two times. Printed are
    how many songs went from which emotion to which, then songs, by the confidence that NEW has in its label.

    \b
    Exit codes: 0 done, whatever changed; 1 no song is in both; 2 wrong usage.
    """
    from ..catalogue.output import refuse_inside_labels
    from ..files import check_can_be_written, write_whole
    from ..outputs.changes import changes_between
    from ..outputs.marks import has_columns, refuse_foreign
    from ..outputs.songs import songs_in
    from ..text.escape import csv_line, for_terminal

    if os.path.realpath(old) == os.path.realpath(new):
        raise click.UsageError(f"{old} and {new} are one folder")
    header = ("path", "before", "confidence_before", "after", "confidence")
    if table:
        refuse_inside_labels(table)
        if not table.lower().endswith(".csv"):
            raise click.UsageError(f"{table} does not end in .csv")
        check_can_be_written(Path(table))
        refuse_foreign(Path(table), has_columns(*header))
    old_labels, old_songs = songs_in(old)
    new_labels, new_songs = songs_in(new)
    changes = changes_between(old_songs, new_songs)
    if not changes.both:
        raise MerError(f"{old} and {new} have no song in common")
    if table:
        rows = (
            (change.path, change.before, change.confidence_before, change.after, change.confidence)
            for change in changes.changed
        )
        with os_errors_say(f"{table} cannot be written"):
            write_whole(Path(table), "".join(map(csv_line, (header, *rows))))
    changed = len(changes.changed)
    have = "song has" if changes.both == 1 else "songs have"
    print_out(f"{changed} of {changes.both} {have} another label ({100 * changed / changes.both:.1f} %)")
    pairs = [(pair, count) for pair, count in changes.counts.most_common() if pair[0] != pair[1]]
    for (before, after), count in pairs:
        print_out(for_terminal(f"{count:8}  {before} -> {after}"))
    if changes.changed and limit:
        print_out("")
    for change in changes.changed[:limit]:
        sure = "-" if change.confidence is None else f"{change.confidence:.3f}"
        print_out(for_terminal(f"{sure:>8}  {change.before} -> {change.after}  {change.path}"))
    if changed > limit and not table:
        print_err(f"{changed - limit} more songs are not named")
    if {*old_labels} != {*new_labels}:
        both = [for_terminal(label) for label in old_labels if label in new_labels]
        only = f"only {', '.join(both)} {'is' if len(both) == 1 else 'are'}" if both else "none is"
        print_err(f"the models have other labels: {only} in both")
    for count, folder in ((changes.only_before, old), (changes.only_after, new)):
        if count:
            print_err(f"{'1 song is' if count == 1 else f'{count} songs are'} in {folder} only")
    return 0
