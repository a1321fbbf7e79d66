"""Files in jobs for processes that may end at any time: each file has one label, in its turn."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from multiprocessing import Pipe

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merkit.engine.labelling.gpu_jobs import Jobs
from merkit.engine.labelling.song_label import SongLabel


@given(st.integers(0, 90), st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=8))
@settings(max_examples=40)
def test_every_file_has_one_label_whatever_ends(count: int, ends: list[tuple[float, bool]]) -> None:
    """Processes that label a share of their job and then end, before others do the rest."""
    paths = [f"{number}.mp3" for number in range(count)]
    jobs = Jobs(iter(paths), 2)
    rows: list[SongLabel] = []
    endings: Counter[str] = Counter()
    while (job := jobs.take()).files:
        share, begun = ends.pop() if ends else (1.0, True)
        for _ in range(int(share * len(job.files))):
            position, path = job.files.popleft()
            jobs.labels[position] = SongLabel(path)
        if job.files:
            endings.update([path for _, path in job.files] if begun else [])
            jobs.give_back(job, begun)
        rows.extend(jobs.labels.ready())
    assert [row.path for row in rows] == paths
    assert {row.path for row in rows if row.error} == {path for path, times in endings.items() if times == 3}
    assert max(endings.values(), default=0) <= 3


def test_the_third_try_is_alone() -> None:
    """So that the one file that ends processes is found, and no other becomes an error for it."""
    jobs = Jobs((f"{number}.mp3" for number in range(5)), 2)
    first = jobs.take()
    assert len(first.files) == 5
    jobs.give_back(first, begun=False)  # a GPU that cannot be opened says nothing about the files
    for _ in range(2):
        job = jobs.take()
        assert len(job.files) == 5
        jobs.give_back(job, begun=True)
    for number in range(5):
        job = jobs.take()
        assert [path for _, path in job.files] == [f"{number}.mp3"]
        if number == 3:
            jobs.give_back(job, begun=True)
        else:
            jobs.labels[number] = SongLabel(f"{number}.mp3")
    rows = list(jobs.labels.ready())
    assert [row.error for row in rows if row.path != "3.mp3"] == [None] * 4
    assert rows[3].error == "3 processes ended while they labelled it"
    assert rows[3].unreadable  # another day it may be labelled
    assert not jobs.take().files


def test_a_file_that_is_to_be_alone_waits_for_a_process_that_has_nothing() -> None:
    jobs = Jobs((f"{number}.mp3" for number in range(70)), 2)
    for _ in range(2):
        jobs.give_back(jobs.take(), begun=True)
    other = jobs.take(idle=False)
    assert [path for _, path in other.files] == [f"{number}.mp3" for number in range(64, 70)]
    assert not other.alone
    assert jobs.take(idle=True).alone


def test_jobs_grow_and_do_not_run_ahead_for_ever() -> None:
    """Labels wait for those before them, in memory; once these come, it goes on."""
    jobs = Jobs((f"{number}.mp3" for number in range(20_000)), 2)
    taken = []
    while (job := jobs.take()).files:
        taken.append(job)
    sizes = [len(job.files) for job in taken]
    assert sizes[:6] == [64, 128, 256, 512, 1_024, 1_024]
    assert max(sizes) == 1_024
    assert 6 * 1_024 <= sum(sizes) < 7 * 1_024
    for job in taken[:-1]:
        for position, path in job.files:
            jobs.labels[position] = SongLabel(path)
    assert len(list(jobs.labels.ready())) == sum(sizes[:-1])
    assert len(jobs.take().files) == 1_024


@pytest.mark.skipif(sys.platform != "linux", reason="the GPU's libraries run on Linux only")
@pytest.mark.parametrize("name", ["a", "\udcff", "\U0001f3b5"])
def test_two_jobs_of_long_paths_fit_a_pipe_that_nobody_reads(name: str) -> None:
    """A parent that waited in ``send`` would read no label, and its process, which waits for that, no job."""
    jobs = Jobs((f"/{number}/{name * 250}.mp3" for number in range(20_000)), 2)
    last = [jobs.take() for _ in range(6)][-2:]  # they have grown to their most
    assert all(job.files for job in last)
    ours, theirs = Pipe()
    with theirs:
        sending = threading.Thread(
            target=lambda: [ours.send([path for _, path in job.files]) for job in last], daemon=True
        )
        sending.start()
        sending.join(5)
        assert not sending.is_alive()


def test_every_path_is_in_a_job_however_long_it_is() -> None:
    paths = [f"{number}" * 50_000 for number in range(5)]
    jobs, taken = Jobs(iter(paths), 1), []
    while (job := jobs.take()).files:
        taken += job.files
    assert taken == list(enumerate(paths))
