"""`study.json`: what a study asks, and which answers were sought of it; readable while a search is under way.

    question    what decides the trials; its hash names the study
    runs        an answer sought, in words -> {run_id, done, trials, seeds, command}; `trials` of a finished one are
                those that its budget let it have

A study is one question and may have several answers: after 20 trials and after 40, under other rules, with more seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mer_bench.answering.answers import shown
from mer_bench.answering.options import Options
from mer_bench.answering.ready import Ready
from mer_bench.contracts import UsageError
from mer_bench.pixels import cache
from mer_bench.searching import trials
from mer_bench.searching.studies import Study

FILE = "study.json"


@dataclass(frozen=True)
class Book:
    """A study's book; see the module."""

    folder: Path
    question: Mapping[str, Any]
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, study: Study, question: Mapping[str, Any]) -> Book:
        """The book of a study, or an empty one."""
        return cls.read(study.folder) or cls(study.folder, question)

    @classmethod
    def read(cls, folder: Path) -> Book | None:
        """The book in a folder; None if there is none."""
        path = folder / FILE
        if not path.is_file():
            return None
        found = json.loads(path.read_text())
        return cls(folder, found["question"], found["runs"])

    def run_of(self, asked: Options, ready: Ready, study: Study) -> tuple[str, bool]:
        """The run that answers what is sought (trials, seeds, rules, finalists), and whether it is finished.

        Raises:
            UsageError: the study was stopped before all of these trials had ended, or before this answer was finished,
                and nobody said whether to go on.
        """
        sought = asked.sought(ready.seeds)
        here = self.runs.get(sought)
        if here and here["done"] and here["trials"] >= asked.trials:
            return here["run_id"], True
        ended = len(trials.everything(study))
        stopped = any(not run["done"] for run in self.runs.values()) and ended < asked.trials
        unfinished = here is not None and not here["done"]
        if (unfinished or stopped) and not asked.resume:
            name = self.folder.name
            raise UsageError(
                f"{name} was stopped after {ended} trials: go on with --resume, or start anew with --fresh"
            )
        if here and unfinished:
            return here["run_id"], False
        run_id = self._start(ready)
        entry = {"run_id": run_id, "done": False, "trials": asked.trials, "seeds": ready.seeds}
        # a study that goes on to other trials or rules leaves what it had not finished
        kept = {n: r for n, r in self.runs.items() if r["done"] or not asked.resume or r["trials"] > asked.trials}
        replace(self, runs={**kept, sought: {**entry, "command": asked.typed(ready)}}).write()
        return run_id, False

    def _start(self, ready: Ready) -> str:
        model = shown(ready.space.model)
        run_id = ready.tracker.start(
            f"search {model} on {ready.task}", "search", model, ready.task, dict(self.question)
        )
        ready.tracker.client.set_tag(run_id, "mer_bench.study", self.folder.name)
        return run_id

    def finished(self, sought: str, count: int) -> None:
        """This answer is there, with so many trials."""
        now = Book.read(self.folder) or self
        replace(now, runs={**now.runs, sought: {**now.runs[sought], "done": True, "trials": count}}).write()

    def forgotten(self, run_id: str) -> Book:
        """Without the answer of a run."""
        return replace(self, runs={n: run for n, run in self.runs.items() if run["run_id"] != run_id})

    def write(self) -> None:
        """Put it on disk, whole or not at all."""
        told = {"question": self.question, "runs": self.runs}
        cache.write_text(self.folder / FILE, json.dumps(told, indent=1, sort_keys=True))
