"""Arrays written clip by clip into a folder, so that a killed preparation goes on where it was.

    folder/onset.npy, apex.npy, flow.npy   one row a clip, memory-mapped while they grow
    folder/progress.json                   the question, and how many rows are on disk for good

Rows count as written only after they were flushed; what a kill leaves beyond them is written again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.pixels import cache

EVERY = 64
"""Clips between two flushes."""
PROGRESS = "progress.json"
Made = Iterator[tuple[dict[str, np.ndarray], bool]]


def write(
    folder: Path,
    settings: Mapping[str, Any],
    clips: Sequence[str],
    make: Callable[[int], Made],
    tick: Callable[[int], None],
) -> list[str]:
    """Fill a folder's arrays, going on where an earlier attempt at the same question stopped.

    Args:
        folder: where the arrays are, or will be.
        settings: the question; another one found there is begun anew.
        clips: names, one a row.
        make: from a row's number, the arrays of that clip and of all that follow, and whether their faces were found.
        tick: called with the number of rows done.

    Returns:
        Names of clips whose face was not found.
    """
    done, unfound, stores = _resumed(folder, settings, len(clips))
    for row, (arrays, found) in enumerate(make(done), done):
        for name, array in arrays.items():
            if name not in stores:
                shape = (len(clips), *array.shape)
                stores[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", array.dtype, shape)
            stores[name][row] = array
        if not found:
            unfound.append(clips[row])
        if (row + 1) % EVERY == 0:
            for store in stores.values():
                store.flush()
            said = {"settings": settings, "done": row + 1, "unfound": unfound}
            cache.write_text(folder / PROGRESS, json.dumps(said))
        tick(row + 1)
    (folder / PROGRESS).unlink(missing_ok=True)
    return unfound


def _resumed(folder: Path, settings: Mapping[str, Any], rows: int) -> tuple[int, list[str], dict[str, np.memmap]]:
    """Rows done, clips without a face among them, and the open arrays; nothing if there is no progress to trust."""
    try:
        said = json.loads((folder / PROGRESS).read_text())
        stores = {file.stem: np.lib.format.open_memmap(file, "r+") for file in sorted(folder.glob("*.npy"))}
    except (OSError, ValueError):
        return 0, [], {}
    if said["settings"] != json.loads(json.dumps(settings)) or not stores:
        return 0, [], {}
    if any(len(store) != rows for store in stores.values()):
        return 0, [], {}
    return int(said["done"]), list(said["unfound"]), stores
