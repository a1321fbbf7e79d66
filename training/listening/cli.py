"""mer-train queue and mer-train listen: which songs to label next, and the page on which that is done."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import click

from ...engine.cli.command import WORKERS, version_option
from ...engine.text.escape import for_terminal
from ..command import training_command

_FILE = click.Path(path_type=Path, dir_okay=False)
_LABELS_NAMED = 5


@click.command()
@click.argument("labels_place", metavar="LABELS", type=click.Path(path_type=Path))
@click.option("--per-label", type=click.IntRange(min=1), default=20, help="Songs for each label.")
@click.option(
    "--labels", metavar="A,B,...", help="Your own words, to be counted.  [default: those of LABELS]"
)
@click.option(
    "--labelled",
    type=_FILE,
    metavar="FILE",
    help="The CSV of mer-train listen: songs in it have their label. It need not be there yet.",
)
@click.option(
    "--weights", metavar="SOURCE", help="A network that hears which songs are alike, as in mer-train."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Another one gives another queue.")
@click.option("--out", "-o", type=_FILE, default=Path("queue.csv"), help="The queue.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="As of mer-train: embeddings lie in DIR/embeddings.  [default: ~/.cache/mer/embeddings]",
)
@click.option("--workers", "-j", type=WORKERS, default=0, help="Processes that decode; 0: one a core.")
@version_option
@training_command("what was heard is kept")
def queue(labels_place: Path, **options: Any) -> int:
    """Choose the songs that are worth a label next, for mer-train listen.

    LABELS is what mer-label --out wrote: a folder, or a .parquet, .csv or .jsonl file. Songs that the
    model is unsure of, and that sound unlike each other and unlike what has a label. Paths of its rows are
    looked for as the rows write them, from this folder.
    """
    from .label_file import labelled_paths
    from .label_rows import songs_from_labels
    from .next_songs import Hearing, next_songs
    from .queue_file import check_queue_file, write_queue
    from .session import labels_from_text

    names = labels_from_text(options["labels"]) if options["labels"] else None
    inputs = (labels_place, options["labelled"])
    check_queue_file(options["out"], [path for path in inputs if path])
    found = songs_from_labels(labels_place, options["out"].parent)
    for reason, count in found.left_out.items():
        click.echo(f"left out: {count} {reason}", err=True)
    labelled, weights = options["labelled"], options["weights"]
    if labelled and not labelled.exists():
        click.echo(for_terminal(f"{labelled} is not there yet: no song counts as labelled"), err=True)
        labelled = None
    known = labelled_paths(labelled) if labelled else frozenset()
    cache = options["cache"] and options["cache"] / "embeddings"
    hearing = Hearing(weights, cache, options["workers"]) if weights else None
    chosen = next_songs(
        found, known, options["per_label"] * len(names or found.labels), options["seed"], hearing
    )
    if not chosen:
        click.echo("every song has a label already", err=True)
        return 1
    write_queue(options["out"], chosen)
    click.echo(for_terminal(f"{len(chosen)} of {len(found.songs)} songs are in {options['out']}"))
    return 0


@click.command()
@click.argument("queue_file", metavar="QUEUE.csv", type=_FILE)
@click.option(
    "--labels", metavar="A,B,...", required=True, help="The words to choose from, in the order of their keys."
)
@click.option("--out", "-o", "file", type=_FILE, default=Path("heard.csv"), help="The CSV that grows.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Of 127.0.0.1; 0: any that is free.")
@version_option
@training_command("every key is in the file: the same command goes on there")
def listen(queue_file: Path, labels: str, file: Path, port: int) -> int:
    """Label songs by listening, in a browser on this machine: one key a song.

    Every key is a row of the CSV, on the disk before the next song is shown; called again, it goes on where
    it was. Then: mer-train --data heard.csv --weights accurate. Nobody else on the network can open the
    page, and it asks nothing of the network.
    """
    from ...engine.data.cleaning import check_labels, cleaned, quoted_label
    from ...engine.data.notes import Notes
    from ..plans import FOR_FEW_CLIPS
    from .label_file import LabelFile
    from .queue_file import read_queue
    from .server import ListeningServer
    from .session import Session, labels_from_text
    from .sound import Sounds

    names = labels_from_text(labels)
    songs, left_out = read_queue(queue_file)
    for line in left_out:
        click.echo(for_terminal(line), err=True)
    table = LabelFile(file, names)
    if table.cut:
        cut = f"{file}: its last row was cut short and is taken off: {table.cut}"
        click.echo(for_terminal(cut), err=True)
    try:
        # mer-train would refuse the file, when all is done.
        check_labels([*names, *(row.label for row in table.rows())], file, Notes())
        asked_for = set(map(cleaned, names))
        others = Counter(row.label for row in table.rows() if cleaned(row.label) not in asked_for)
        if others:
            named = [f"{quoted_label(label)} {count}" for label, count in others.most_common(_LABELS_NAMED)]
            named += ["..."] if len(others) > _LABELS_NAMED else []
            strange = f"{others.total()} of its labels are not among --labels: {', '.join(named)}"
            click.echo(for_terminal(f"{file}: {strange}"), err=True)
        with Sounds([song.path for song in songs]) as sounds:
            session = Session(songs, names, table)
            with ListeningServer(session, sounds, port) as server:
                state = session.state()
                counted = f"{state['total']} songs, {state['done']} with a label"
                click.echo(f"{counted}; open in a browser on this machine:")
                click.echo(server.url)
                click.echo(for_terminal(f"every key goes to {file} at once; Ctrl-C ends"))
                server.serve_forever()
        done = session.state()["done"]
        train = f"mer-train --data {shlex.quote(str(file))} --weights {FOR_FEW_CLIPS}"
        click.echo(for_terminal(f"{done} of {len(songs)} songs have a label; {train}"))
    finally:
        table.close()
    return 0
