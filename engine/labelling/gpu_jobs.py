"""The files of a run in jobs for several processes, and their labels in the order of the files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .in_order import LabelsInOrder
from .song_label import label_of_lost

_FIRST, _MOST = 64, 1_024  # files of a job: few at first, so that small catalogues are shared out too
# Of a job's paths. The two that a process may have fit its pipe, of 200 kB: else this process would wait in
# ``send``, where it reads no label, for one that waits until its labels are read.
_BYTES = 64_000
_AHEAD = 3  # jobs for each process that may be begun after the oldest file that is not labelled
_TRIES = 3  # processes that may end while they have a file; the last of them has this file alone


@dataclass(eq=False)
class Job:
    """Files, by their positions, that a process has and did not label yet.

    ``ended`` is how many processes have ended while they had them.
    """

    files: deque[tuple[int, str]] = field(default_factory=deque)
    ended: int = 0

    @property
    def alone(self) -> bool:
        """Whether its one file is to be in a process alone, which says whether it is why processes end."""
        return self.ended == _TRIES - 1


class Jobs:
    """Paths, handed out in jobs of growing size, and their ``labels``, which come in any order.

    A file that ``_TRIES`` processes had when they ended, the last one alone, becomes an error.
    """

    def __init__(self, paths: Iterable[str], processes: int) -> None:
        self.labels = LabelsInOrder()
        self._items = enumerate(paths)
        self._most_ahead = _AHEAD * processes * _MOST
        self._size = _FIRST
        self._begun = 0
        self._returned: deque[Job] = deque()

    def take(self, idle: bool = True) -> Job:
        """The next job: what a process had that ended, or else new paths; empty where none may be begun.

        Args:
            idle: for a process that has nothing: it may get a file that is to be alone.
        """
        for job in self._returned:
            if idle or not job.alone:
                self._returned.remove(job)
                return job
        if self._begun - self.labels.next >= self._most_ahead:
            return Job()
        job, held = Job(), 0
        while held < _BYTES and len(job.files) < self._size and (item := next(self._items, None)):
            job.files.append(item)
            held += len(item[1].encode("utf-8", "surrogatepass"))  # as they are sent
        self._begun += len(job.files)
        self._size = min(2 * self._size, _MOST)
        return job

    def give_back(self, job: Job, begun: bool) -> None:
        """Takes back what a process had when it ended; ``begun``: the files may be why."""
        ended = job.ended + begun
        if ended < _TRIES - 1:
            self._returned.append(Job(job.files, ended))
            return
        for position, path in job.files:
            if ended < _TRIES:
                self._returned.append(Job(deque([(position, path)]), ended))
            else:
                self.labels[position] = label_of_lost(path, ended)
