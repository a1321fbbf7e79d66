"""A plugin of beets: ``beet mer`` says which emotion songs of the library carry, and keeps it as their mood.

beets finds it by its place: many packages share the namespace ``beetsplug``, so no ``__init__.py`` may stand
beside this file. docs/BEETS.md is for its users.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from beets import ui
from beets.dbcore import types
from beets.plugins import BeetsPlugin
from merkit.engine.text.escape import for_terminal

if TYPE_CHECKING:
    from beets.importer import ImportSession, ImportTask
    from beets.library import Item, Library
    from merkit import Labeler, SongLabel

_LABELS = ("happy", "tense", "sad", "calm")
"""Those of the default model: beets asks for types at each start, and to open a model takes 0.3 s."""

_MOOD, _VERDICT, _CONFIDENCE = "mood", "mer_verdict", "mer_confidence"
_OUR_MOOD = "mer_mood"  # the mood that was set here, or ""
_NO_SHARES = (_VERDICT, _CONFIDENCE, _OUR_MOOD)


class MerPlugin(BeetsPlugin):
    """The command and, with ``auto``, a stage of the import."""

    def __init__(self) -> None:
        super().__init__("mer")
        self.config.add(
            {
                "auto": False,
                "force": False,
                "unsure": False,
                "model": None,
                "windows": 3,
                "min_confidence": None,
                "workers": 0,
            }
        )
        self._labeler: Labeler | None = None
        self._forced: set[int | None] = set()  # ids of items whose label replaces moods from elsewhere
        listeners: dict[Any, Any] = {"after_write": self._write_tags, "cli_exit": self._close}
        for event, listener in listeners.items():
            self.register_listener(event, listener)
        if self.config["auto"].get(bool):
            self.import_stages = [self._imported]

    @property
    def item_types(self) -> dict[str, types.Type]:
        """Probabilities are numbers: ``mer_happy:0.6..`` asks for a range."""
        return dict.fromkeys((_CONFIDENCE, *map(_field, self._known_labels())), types.NullFloat(3))

    def commands(self) -> list[ui.Subcommand]:
        command = ui.Subcommand("mer", help="say which emotion songs carry, and keep it as their mood")
        add = command.parser.add_option
        add("-f", "--force", action="store_true", help="label again, and replace moods from elsewhere")
        add("-p", "--pretend", action="store_true", help="show the labels, and keep nothing")
        add("-w", "--write", action="store_true", default=None, help="write moods into the files")
        add("-W", "--nowrite", action="store_false", dest="write", help="leave the files alone")
        command.func = self._command
        return [command]

    def _command(self, lib: Library, options: Any, arguments: list[str]) -> None:
        from merkit.engine.errors import MerError

        force = options.force or self.config["force"].get(bool)
        write = ui.should_write(options.write)
        counts: Counter[str] = Counter()
        try:
            for item, song in self._labels(lib.items(arguments), force, counts):
                self._log.info("{}: {}", _name(item), _said(song))
                if not options.pretend:
                    self._keep(item, song, force)
                    if write:
                        item.try_write()
                    item.store()
        except MerError as error:
            raise ui.UserError(f"mer: {error}") from None
        finally:
            self._close()
        for what, count in counts.most_common():
            self._log.info("{} {}", count, what)

    def _imported(self, session: ImportSession, task: ImportTask) -> None:
        """Runs before beets moves files and writes their tags, if it is to."""
        from merkit.engine.errors import MerError

        force = self.config["force"].get(bool)
        try:
            for item, song in self._labels(task.imported_items(), force, Counter()):
                self._log.info("{}: {}", _name(item), _said(song))
                self._keep(item, song, force)
                item.store()
        except MerError as error:  # the music is imported all the same
            self._log.error("{}", error)

    def _labels(
        self, items: Iterable[Item], force: bool, counts: Counter[str]
    ) -> Iterator[tuple[Item, SongLabel]]:
        """The items that have no label yet, each with its label. Those that fail are logged and left out."""
        items = list(items)
        todo = [item for item in items if force or _VERDICT not in item]
        if len(todo) < len(items):
            counts["had their label (--force labels again)"] = len(items) - len(todo)
        if not todo:
            return
        paths = [os.fsdecode(item.path) for item in todo]  # here: beets knows its folder in this thread alone
        for item, song in zip(todo, self._opened().label_files(paths), strict=True):
            if song.error:
                self._log.error("{}: {}", _name(item), song.error)
                counts["without a label (the next run tries again)"] += 1
            else:
                counts[song.verdict if song.verdict not in (None, "sure") else str(song.emotion)] += 1
                yield item, song

    def _keep(self, item: Item, song: SongLabel, force: bool) -> None:
        """Sets the item's fields. A mood that is not from here stays, unless it is replaced by force."""
        mood = item.get(_MOOD, with_album=False) or _mood_in_file(item)
        others = mood if mood and not self._is_ours(item) else None
        for key in _fields(item):
            del item[key]
        item[_VERDICT] = song.verdict or "sure"
        if song.emotion:
            item[_CONFIDENCE] = song.confidence
        for label, share in zip(self._opened().labels, song.probabilities, strict=False):  # of silence none
            item[_field(label)] = share
        new = song.emotion if song.verdict != "unsure" or self.config["unsure"].get(bool) else None
        is_others = others and not (force and new)
        item[_OUR_MOOD] = "" if is_others else new or ""
        if force and new and not is_others:
            self._forced.add(item.id)
        if is_others:
            new = others
        if new:
            item[_MOOD] = new
        elif item.get(_MOOD, with_album=False):
            del item[_MOOD]

    def _write_tags(self, item: Item, path: bytes) -> None:
        """After beets has written an item's tags: the mood and its shares, as ``mer-label tag`` does.

        A mood that is not from here takes the place of one in the file that is, without shares. One in the
        file that is not, as of another program since, stays but for those that this run replaces by force.
        """
        if _VERDICT not in item:
            return
        from merkit.engine.errors import MerError
        from merkit.engine.outputs.tagging import kinds, moods

        name = os.fsdecode(path)
        mood = item.get(_MOOD, "", with_album=False)
        is_ours = self._is_ours(item)
        values: dict[str, str] = {moods.MOOD: mood} if mood else {}
        if is_ours:
            for key, share in _shares(item).items():
                label = mood if key == _field(mood) else self._label(key.removeprefix("mer_"))
                values[moods.share_name(label)] = f"{share:.3f}"
        try:
            there = moods.read_moods(name)
            is_free = not there.get(moods.MOOD) or item.id in self._forced
            if values != there and (moods.is_mood_ours(there) or (is_ours and is_free)):
                moods.write_moods(name, values)
                if path == item.path:
                    item.mtime = item.current_mtime()  # or beets takes it for a file that somebody changed
        except kinds.NoPlaceError:
            return
        except MerError as error:
            self._log.error("{}: {}", _name(item), error)

    def _is_ours(self, item: Item) -> bool:
        """Whether an item has a mood that was set here.

        Earlier versions did not keep what they set: of theirs, the label whose share is the largest.
        """
        mood = item.get(_MOOD, "", with_album=False)
        if not mood or _OUR_MOOD in _fields(item):
            return bool(mood) and mood == item[_OUR_MOOD]
        shares = _shares(item)
        return self._label(mood) == mood and shares.get(_field(mood), -1.0) == max(shares.values(), default=0)

    def _label(self, text: str) -> str:
        """The model's label whose field is that of a text, or the text."""
        return {_field(label): label for label in self._known_labels()}.get(_field(text), text)

    def _known_labels(self) -> tuple[str, ...]:
        """Those of the model; none if it cannot be opened, which "beet mer" says: other commands go on."""
        from merkit.engine.errors import MerError

        try:
            return self._opened().labels if self.config["model"].get() else _LABELS
        except MerError:
            return ()

    def _opened(self) -> Labeler:
        """The labeler, opened when it is first needed.

        Raises:
            MerError: a model that is not there or cannot be used, or a wrong option.
        """
        if self._labeler is None:
            from merkit import Labeler
            from merkit.engine.artifact import DEFAULT_MODEL

            options = {name: self.config[name].get() for name in ("windows", "min_confidence", "workers")}
            self._labeler = Labeler(self.config["model"].get() or DEFAULT_MODEL, **options)
        return self._labeler

    def _close(self, **_: Any) -> None:
        if self._labeler is not None:
            self._labeler.close()


def _field(label: str) -> str:
    """The field of a label's share: small letters, and neither blanks nor colons, as queries want it."""
    field = "mer_" + re.sub(r"[\s:]", "_", label.lower())
    return f"{field}_" if field in _NO_SHARES else field


def _fields(item: Item) -> list[str]:
    return [key for key in item.keys(with_album=False) if key.startswith("mer_")]


def _shares(item: Item) -> dict[str, float]:
    """An item's shares by their fields. Those of a model that is not there now come as text."""
    shares = {}
    for key in _fields(item):
        with suppress(TypeError, ValueError):
            if key not in _NO_SHARES and math.isfinite(share := float(item[key])):
                shares[key] = share
    return shares


def _name(item: Item) -> str:
    return for_terminal(str(item) if item.title else os.fsdecode(item.path))


def _said(song: SongLabel) -> str:
    if not song.emotion:
        return str(song.verdict)
    return f"{song.emotion} ({song.confidence:.2f})" + (", unsure" if song.verdict == "unsure" else "")


def _mood_in_file(item: Item) -> str | None:
    """A mood in an item's file that no shares stand beside: it is not from here."""
    from merkit.engine.errors import MerError
    from merkit.engine.outputs.tagging import moods

    try:
        values = moods.read_moods(os.fsdecode(item.path))
    except MerError:  # no place for a mood, or damaged
        return None
    return None if moods.is_mood_ours(values) else values.get(moods.MOOD)
