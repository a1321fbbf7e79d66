"""A catalogue over the machines of a Ray cluster: paths go out, labels come back, no sound travels.

Ray Data hands blocks of paths to actors. Each holds the network and a pool of its own that decodes, as one
machine does, so that a hostile file costs a child there too. Every machine must see the files under the same
paths, or they must be URLs, and have mer installed.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Self

from ..artifact import Artifact
from ..audio.formats import is_remote
from ..errors import MerError
from ..runtimes import open_runtime
from .contract import StageSeconds
from .file_windows import WindowOptions
from .local import FileByFile, LocalBackend, network_threads
from .ray_session import join_cluster, last_line
from .song_label import SongLabel, label_from_json

_CORES = 4  # of an actor without a GPU, at most: nodes of other sizes than a multiple leave few unused
_BLOCK = 16  # files a core in one call of an actor: what a killed node costs
_AT_ONCE = 100_000  # paths in one execution of Ray Data
_HELD = 5_000  # labels that wait for a lost one before it, before that is labelled anew
_TRIES = 3  # of a file whose actor died
_FAILED = -1  # the position of an actor's error that is no file's
_ON_GPU = ("tensorrt",)


class RayCluster:
    """See ``LabelBackend``. ``runtime`` is the name of what runs the network on the nodes.

    Args:
        address: "local" for a cluster on this machine alone, "auto" for the one that this machine belongs
            to, or what Ray takes for one: ``host:port``.
        cores: of an actor, which has as many processes that decode; 0 chooses.

    Raises:
        MerError: Ray is not installed, nothing answers there, or it has no room for one actor.
    """

    def __init__(self, address: str, runtime: str, cores: int = 0) -> None:
        self.name = runtime
        self._ray = join_cluster(address)
        try:
            self.nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self.cores, self.actors = plan_actors(self.nodes, cores, runtime in _ON_GPU)
        except BaseException:
            self.close()
            raise

    def label_files(
        self,
        paths: Iterable[str],
        artifact: Artifact,
        options: WindowOptions,
        stop: threading.Event | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[SongLabel]:
        stages = stages if stages is not None else StageSeconds()
        stop = stop or threading.Event()
        model = self._ray.put(artifact)
        stream = enumerate(paths)
        while not stop.is_set() and (chunk := dict(islice(stream, _AT_ONCE))):
            yield from _Chunk(self, chunk, (model, self.name, options, self.cores), stop, stages).labels()

    def results(self, blocks: Sequence[Any], arguments: tuple[Any, ...]) -> Any:
        """Tables from the actors, in the order of the blocks; those whose actor died are left out."""
        from ray.data import ActorPoolStrategy, DataContext, from_arrow

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        gpus = {"num_gpus": 1} if self.name in _ON_GPU else {}
        # Ray would try a dead actor's calls again on that actor only, and wait for room for it, which a
        # cluster that has lost a node may never have: lost blocks are given out anew instead.
        retries: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
        pool = ActorPoolStrategy(size=self.actors, max_tasks_in_flight_per_actor=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that restarts will be set otherwise from Ray 2.64 on
            found = from_arrow(list(blocks)).map_batches(
                _Actor, batch_size=1, batch_format="pyarrow", compute=pool, num_cpus=self.cores,
                fn_constructor_args=arguments, **gpus, **retries,
            )  # fmt: skip
        return found.iter_batches(batch_size=None, batch_format="pyarrow")

    def close(self) -> None:
        """Leaves the cluster, and ends a local one."""
        self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plan_actors(nodes: Sequence[dict[str, float]], cores: int = 0, on_gpu: bool = False) -> tuple[int, int]:
    """(cores of an actor, actors) for nodes of these resources: one a GPU, or one a group of cores.

    Raises:
        MerError: no node has room for one.
    """
    sizes = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    if on_gpu:
        cores = cores or max(1, min((cpus // gpus for cpus, gpus in sizes if gpus), default=1))
        actors = sum(min(gpus, cpus // cores) for cpus, gpus in sizes)
    else:
        cores = cores or min([_CORES, *(cpus for cpus, _ in sizes if cpus)])
        actors = sum(cpus // cores for cpus, _ in sizes)
    if not actors:
        wanted = f"{cores} cores{' and a GPU' if on_gpu else ''}"
        raise MerError(f"the Ray cluster has no machine with {wanted} for this")
    return cores, actors


class _Chunk:
    """Labels of some paths in their order, in as many executions as it takes to have them all."""

    def __init__(
        self,
        cluster: RayCluster,
        paths: dict[int, str],
        arguments: tuple[Any, ...],
        stop: threading.Event,
        stages: StageSeconds,
    ) -> None:
        self._cluster, self._arguments, self._stop, self._stages = cluster, arguments, stop, stages
        self._paths = paths
        self._done: dict[int, SongLabel] = {}
        self._lost: Counter[int] = Counter()
        self._following = min(paths)

    def labels(self) -> Iterator[SongLabel]:
        """Yields until all are done, or it is stopped."""
        in_vain = 0
        while self._paths and not self._stop.is_set():
            before, reason = self._progress(), "its actors do not live long enough"
            try:
                yield from self._execution()
            except self._errors() as error:
                reason = last_line(error)
            in_vain = in_vain + 1 if self._progress() == before else 0
            if in_vain == _TRIES:
                raise MerError(f"the cluster labels nothing: {reason}")

    def _progress(self) -> tuple[int, int, int]:
        return len(self._paths), len(self._done), self._lost.total()

    def _execution(self) -> Iterator[SongLabel]:
        left = [position for position in self._paths if position not in self._done]
        for position in left:
            if self._lost[position] >= _TRIES:
                reason = f"the process that labelled it died {_TRIES} times"
                self._done[position] = SongLabel(self._paths[position], error=reason)
        yield from self._ready()
        if not self._paths:
            return
        with closing(iter(self._cluster.results(self._blocks(), self._arguments))) as tables:
            expected = iter([position for position in left if self._lost[position] < _TRIES])
            for table in tables:
                self._take(table, expected)
                yield from self._ready()
                if self._stop.is_set() or len(self._done) > _HELD:
                    return
        for position in expected:
            self._lost[position] += 1

    def _take(self, table: Any, expected: Iterator[int]) -> None:
        for row in table.to_pylist():
            position = row["position"]
            if position == _FAILED:
                raise MerError(f"an actor failed: {row['label']}")
            for skipped in expected:  # blocks come in order: what is left out will not come
                if skipped == position:
                    break
                self._lost[skipped] += 1
            self._done[position] = label_from_json(row["label"], self._paths[position])
            self._stages.add(json.loads(row["stages"]))

    def _ready(self) -> Iterator[SongLabel]:
        while self._following in self._done:
            del self._paths[self._following]
            yield self._done.pop(self._following)
            self._following += 1

    def _blocks(self) -> list[Any]:
        """Tables of one row with positions and their paths; what was lost once is given out one at a time.

        One row: with GPUs Ray Data wants to know how many rows a call has, and joins blocks to have them.
        """
        import pyarrow as pa

        blocks: list[list[int]] = [[]]
        for position in self._paths:
            if position in self._done:
                continue
            alone = bool(self._lost[position])
            if blocks[-1] and (alone or self._lost[blocks[-1][0]] or len(blocks[-1]) >= self._block):
                blocks.append([])
            blocks[-1].append(position)
        return [
            pa.table({"positions": [block], "paths": [[_sent(self._paths[position]) for position in block]]})
            for block in blocks
            if block
        ]

    @property
    def _block(self) -> int:
        # A small catalogue must keep every actor busy too.
        fair = -(-len(self._paths) // (4 * self._cluster.actors))
        return min(_BLOCK * self._cluster.cores, max(1, fair))

    @staticmethod
    def _errors() -> tuple[type[Exception], ...]:
        from ray.exceptions import RayError, UserCodeException

        return RayError, UserCodeException


class _Actor:
    """One machine's part: a network and a pool of processes that decode, for block after block."""

    def __init__(self, model: Any, runtime: str, options: WindowOptions, cores: int) -> None:
        import ray

        self._artifact: Artifact = ray.get(model)
        self._options = options
        network = open_runtime(self._artifact, runtime, network_threads(cores))
        self._backend = LocalBackend(FileByFile(network), cores)

    def __call__(self, block: Any) -> Any:
        import pyarrow as pa

        try:
            labels, stages = self._labels([os.fsdecode(path) for path in block["paths"][0].as_py()])
        except Exception as error:  # Ray Data is told to pass over errors, since dead nodes are some
            reason = str(error) if isinstance(error, MerError) else f"{type(error).__name__}: {error}"
            return pa.table({"position": [_FAILED], "label": [reason], "stages": ["{}"]})
        return pa.table(
            {
                "position": block["positions"][0].values,
                "label": [label.to_json() for label in labels],
                "stages": [json.dumps(vars(stages)), *["{}"] * (len(labels) - 1)],
            }
        )

    def _labels(self, paths: list[str]) -> tuple[list[SongLabel], StageSeconds]:
        stages = StageSeconds()
        labels = self._backend.label_files(paths, self._artifact, self._options, stages=stages)
        return list(labels), stages


def _sent(path: str) -> bytes:
    """A path as an actor can open it, whatever folder it stands in; not all are UTF-8."""
    return os.fsencode(path if is_remote(path) or not path else os.path.abspath(path))
