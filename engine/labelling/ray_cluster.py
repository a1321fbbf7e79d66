"""A catalogue over the machines of a Ray cluster: paths go out, labels come back, no sound travels.

Ray Data hands blocks of paths to actors. Each actor has the network and child processes that decode, as one
machine has, so that a file that crashes its decoder costs a child there too. All machines need merkit, and
the files under the same paths, or as URLs.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from ..artifact import Artifact
from ..closing import ClosedByWith
from ..errors import MerError
from .contract import StageSeconds
from .file_windows import WindowOptions
from .in_order import LabelsInOrder
from .ray_actor import FAILED, LabelActor, block_from_paths
from .ray_session import join_cluster, last_line, leave_cluster
from .song_label import SongLabel, label_from_json, label_of_lost

_CORES = 4  # of an actor without a GPU, at most: small actors leave few cores of a node unused
_BLOCK = 16  # files for each core of an actor in one call: what is lost with a node
_AT_ONCE = 100_000  # paths in one execution of Ray Data
_HELD = 5_000  # labels that wait for a lost file before them, at most: then what was lost is sent out anew
_TRIES = 3  # of a file whose actor died
_ON_GPU = ("tensorrt",)


class RayCluster(ClosedByWith):
    """See ``LabelBackend``. It takes one call of ``label_files`` at a time, which has all actors.

    Args:
        address: as ``join_cluster`` takes it.
        runtime: the name of what runs the network on the nodes, one of ``RUNTIMES``.
        name: of the runtime, as it is recorded with the labels: the one that one machine would record. For
            an engine that is what built it.
        cores: of an actor, which has as many processes that decode; 0 chooses.

    Raises:
        MerError: Ray is not installed, no cluster answers, or it has no room for one actor.
    """

    def __init__(self, address: str, runtime: str, name: str, cores: int = 0) -> None:
        self.name, self._runtime = name, runtime
        self._ray = join_cluster(address)
        self._busy = False
        try:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self.cores, self.actors = plan_actors(nodes, cores, runtime in _ON_GPU)
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
        """See ``LabelBackend``.

        Raises:
            ValueError: an earlier call is neither at its end nor closed.
        """
        if self._busy:  # it would wait for ever for actors that the other call has
            raise ValueError("the cluster is in use by another call of label_files")
        self._busy = True
        stop, stages = stop or threading.Event(), stages or StageSeconds()
        try:
            arguments = (self._ray.put(artifact), self._runtime, options, self.cores)
            numbered = enumerate(paths)
            while not stop.is_set() and (chunk := dict(islice(numbered, _AT_ONCE))):
                yield from _Chunk(self, chunk, arguments, stop, stages).labels()
        finally:
            self._busy = False

    def results(self, blocks: Sequence[Any], arguments: tuple[Any, ...]) -> Any:
        """Tables from the actors, in the order of the blocks; the blocks of actors that died are left out.

        Args:
            blocks: of ``block_from_paths``.
            arguments: for the actors' constructor.
        """
        from ray.data import ActorPoolStrategy, DataContext, from_arrow

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        gpus = {"num_gpus": 1} if self._runtime in _ON_GPU else {}
        # Ray would retry a dead actor's calls on that actor only, and wait until there is room to restart it:
        # for ever in a cluster that has lost a node. Lost blocks are sent out anew instead.
        retries: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
        pool = ActorPoolStrategy(size=self.actors, max_tasks_in_flight_per_actor=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Ray 2.64 will want restarts to be set in another way
            tables = from_arrow(list(blocks)).map_batches(
                LabelActor, batch_size=1, batch_format="pyarrow", compute=pool, num_cpus=self.cores,
                fn_constructor_args=arguments, **gpus, **retries,
            )  # fmt: skip
        return tables.iter_batches(batch_size=None, batch_format="pyarrow")

    def close(self) -> None:
        """Leaves the cluster, and ends a local one."""
        leave_cluster(self._ray)


def plan_actors(nodes: Sequence[dict[str, float]], cores: int = 0, on_gpu: bool = False) -> tuple[int, int]:
    """(cores of an actor, number of actors): one actor for each GPU, or for each group of cores.

    Args:
        nodes: of each node its "CPU" and "GPU", as Ray counts them.
        cores: of an actor; 0 chooses.

    Raises:
        MerError: no node has room for one actor.
    """
    sizes = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    if on_gpu:
        cores = cores or max(1, min((cpus // gpus for cpus, gpus in sizes if gpus), default=1))
        actors = sum(min(gpus, cpus // cores) for cpus, gpus in sizes)
    else:
        cores = cores or min([_CORES, *(cpus for cpus, _ in sizes if cpus)])
        actors = sum(cpus // cores for cpus, _ in sizes)
    if not actors:
        room = f"{cores} cores{' and a GPU' if on_gpu else ''}"
        raise MerError(f"the Ray cluster has no machine with {room} for this")
    return cores, actors


class _Chunk:
    """Some of the paths. Ray Data is executed again until all of them have their label.

    Args:
        paths: by position; positions follow one another.
        arguments: for the actors' constructor.
    """

    def __init__(
        self,
        cluster: RayCluster,
        paths: dict[int, str],
        arguments: tuple[Any, ...],
        stop: threading.Event,
        stages: StageSeconds,
    ) -> None:
        self._cluster, self._arguments, self._stop, self._stages = cluster, arguments, stop, stages
        self._paths = paths  # whose labels were not yielded yet
        self._labels = LabelsInOrder(min(paths))
        self._lost: Counter[int] = Counter()  # how often a position was lost with its actor

    def labels(self) -> Iterator[SongLabel]:
        """Labels in the order of the paths, until all are done or it is stopped."""
        return self._labels.and_rest(self._all_labels())

    def _all_labels(self) -> Iterator[SongLabel]:
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
        return len(self._paths), len(self._labels), self._lost.total()

    def _execution(self) -> Iterator[SongLabel]:
        """Executes Ray Data once, over all positions without a label."""
        missing = [position for position in self._paths if position not in self._labels]
        for position in missing:
            if self._lost[position] >= _TRIES:
                self._labels[position] = label_of_lost(self._paths[position], _TRIES)
        yield from self._ready()
        if not self._paths:
            return
        with closing(iter(self._cluster.results(self._blocks(), self._arguments))) as tables:
            expected = iter([position for position in missing if self._lost[position] < _TRIES])
            for table in tables:
                self._take(table, expected)
                yield from self._ready()
                if self._stop.is_set() or len(self._labels) > _HELD:
                    return
        for position in expected:
            self._lost[position] += 1

    def _take(self, table: Any, expected: Iterator[int]) -> None:
        """Takes an actor's labels; ``expected`` is the positions that may still come, in their order."""
        for row in table.to_pylist():
            position = row["position"]
            if position == FAILED:
                raise MerError(f"an actor failed: {row['label']}")
            for skipped in expected:  # tables come in order: what was left out will not come
                if skipped == position:
                    break
                self._lost[skipped] += 1
            self._labels[position] = label_from_json(row["label"], self._paths[position])
            self._stages.add(json.loads(row["stages"]))

    def _ready(self) -> Iterator[SongLabel]:
        for label in self._labels.ready():
            del self._paths[self._labels.next - 1]
            yield label

    def _blocks(self) -> list[Any]:
        """The positions without a label, in blocks.

        One that was lost is alone in its block, so that what kills an actor takes nothing else along.
        """
        blocks: list[list[int]] = [[]]
        for position in self._paths:
            if position in self._labels:
                continue
            alone = bool(self._lost[position])
            if blocks[-1] and (alone or self._lost[blocks[-1][0]] or len(blocks[-1]) >= self._block_size):
                blocks.append([])
            blocks[-1].append(position)
        return [
            block_from_paths({position: self._paths[position] for position in block})
            for block in blocks
            if block
        ]

    @property
    def _block_size(self) -> int:
        # Four blocks for each actor at least: a small catalogue must keep all of them busy too.
        fair = -(-len(self._paths) // (4 * self._cluster.actors))
        return min(_BLOCK * self._cluster.cores, max(1, fair))

    @staticmethod
    def _errors() -> tuple[type[Exception], ...]:
        from ray.exceptions import RayError, UserCodeException

        return RayError, UserCodeException
