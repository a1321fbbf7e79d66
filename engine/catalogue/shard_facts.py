"""What rows say of their files, after a change that is no change of the sound: the labels stay."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import os_errors_say
from ..files import Disk
from .run_info import KEY
from .shard_file import ShardFile, write_shard
from .source import int64


def store_facts(shard: Path, facts: Mapping[int, os.stat_result], disk: Disk | None = None) -> None:
    """Puts a file's size and times into rows, each by its number in the shard, which is replaced whole.

    A later run then finds the files as they were labelled. Shards of versions before ``mer.run`` stay as they
    are. The caller holds the folder's lock.

    Raises:
        MerError: the shard is damaged, or cannot be written.
    """
    file = ShardFile(shard)
    if not facts or file.run is None:
        return
    rows = file.rows()
    for number, status in facts.items():
        known = {
            "size_bytes": status.st_size,
            "mtime_ns": int64(status.st_mtime_ns),
            "ctime_ns": int64(status.st_ctime_ns),
        }
        rows[number].update({name: value for name, value in known.items() if name in file.columns})
    run = json.dumps(file.run, ensure_ascii=False)
    with os_errors_say(f"{shard} cannot be written"):
        write_shard(shard, rows, file.schema.with_metadata({KEY: run}), disk or Disk())
