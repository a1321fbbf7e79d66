"""mer-label page: labels in, one page of HTML out."""

from __future__ import annotations

from pathlib import Path

import click

from ..text.streams import print_err, print_out
from .command import EXIT_SOME_FAILED, SETTINGS, QuietCommand, report_errors
from .words import NAMED_PATH


@click.command(cls=QuietCommand, context_settings=SETTINGS)
@click.argument("labels", type=NAMED_PATH, metavar="LABELS")
@click.option(
    "--out",
    "-o",
    type=NAMED_PATH,
    default="catalogue.html",
    metavar="FILE.html",
    help="The page. Songs are played from where they lie: move page and music together.",
)
@click.option("--title", metavar="TEXT", help="What stands above it.  [default: the name of LABELS]")
@click.option(
    "--missing", is_flag=True, help="Show songs too whose files are not there now; they cannot be played."
)
@report_errors
def main(labels: str, out: str, title: str | None, missing: bool) -> int:
    """Make a page on which a catalogue can be searched, sorted, seen and heard.

    LABELS is a folder that 'mer-label --out FOLDER/' wrote. The page is one file, which loads nothing but the
    songs that are played, from where they lie beside it. The least certain songs stand first. Songs whose
    files are not there now are left out and counted.

    \b
    Exit codes: 0 done, 1 failure, 2 wrong usage, 4 done but some
    files are not there.
    """
    from ..catalogue.output import refuse_inside_labels
    from ..outputs.page.html import write_page

    if Path(out).suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{out}: the name of a page must end in .html")
    refuse_inside_labels(out)
    catalogue = write_page(Path(labels), Path(out), title, missing)
    print_out(out)
    songs = "1 song" if catalogue.songs == 1 else f"{catalogue.songs} songs"
    print_err(f"{songs}, {Path(out).stat().st_size / 1e6:.1f} MB")
    if catalogue.missing and not missing:
        print_err(f"{catalogue.missing} left out: their files are not there now (--missing shows them)")
    return EXIT_SOME_FAILED if catalogue.missing else 0
