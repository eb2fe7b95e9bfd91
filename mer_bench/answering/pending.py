"""Where a run's passes lie until the run is recorded, so that the same command goes on after it was stopped.

    mlruns/tables/unfinished/<question>/all    ─► graded, recorded ─►    mlruns/tables/<run>/all

The place is named by everything that decides a prediction: the question, the code that decides numbers, the versions.
Another question, or code that was edited meanwhile, starts anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mer_bench import predictions
from mer_bench.pixels import cache
from mer_bench.records import provenance, tracking
from mer_bench.training import loso


@contextmanager
def place(folder: Path, asked: Mapping[str, Any]) -> Iterator[Path]:
    """The folder to work in; `folder` itself while another process works on the same.

    Args:
        folder: where the passes go in the end.
        asked: all that decides them, JSON types.
    """
    ran_on = {name: version for name, version in provenance.versions().items() if name != "commit"}
    here = tracking.tables() / "unfinished" / cache.key({**asked, "ran_on": ran_on})[:16]
    here.mkdir(parents=True, exist_ok=True)
    with cache.claimed(here) as mine:
        try:
            yield here if mine else folder
        finally:
            if mine:
                with suppress(OSError):
                    here.rmdir()  # nothing was kept


@contextmanager
def moved(here: Path, folder: Path) -> Iterator[None]:
    """Finished passes at their final place; back where they were if what follows fails."""
    if here != folder:
        here.rename(folder)
    try:
        yield
    except BaseException:
        if here != folder:
            folder.rename(here)
        raise


def there(pass_folder: Path) -> int:
    """How many trainings of a pass are finished already."""
    if (pass_folder / predictions.DONE).is_file():
        return len(predictions.record(pass_folder)["folds"])
    return len(loso.kept_in(loso.beside(pass_folder)))
