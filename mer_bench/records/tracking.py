"""The one door to MLflow: runs, studies and what they found.

A finished evaluation hands over a `scores.Result`. It is stored three times, for three readers:

    scores.json      the whole `Result`; reports are built from it alone
    scores.parquet   TABLE 3 (`scores.table`): one row per rule, corpus and metric
    metrics          `nested.uf1`, `nested.casme2.uar`, ... for MLflow's own pages

A study is a parent run and every trial a child run, tied by a tag through `MlflowClient`, because MLflow's fluent
nesting does not cross processes. There is no run per fold. The database's schema is made by `open`, once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from mer_bench.contracts import MerBenchError
from mer_bench.pixels import cache
from mer_bench.records.logged import flatten, key, metrics, plain
from mer_bench.records.scores import Result, table

EXPERIMENT = "mer-bench"
MAX_TAG, MAX_REASON = 5000, 2000  # MLflow's limit, and ours


class Finished(NamedTuple):
    """A finished run: its id, when it started (UTC) and what it found."""

    run_id: str
    started: datetime
    result: Result


@dataclass(frozen=True)
class Tracker:
    """The project's experiment in an MLflow store; made by `open`."""

    client: Any
    experiment: str

    def start(self, name: str, kind: str, model: str, task: str, question: Mapping[str, Any]) -> str:
        """Open a run (RUNNING) and return its id; the question is stored at once, to explain a crash."""
        tags = {"mer_bench.kind": kind, "mer_bench.model": model, "mer_bench.task": task}
        run_id: str = self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id
        self.client.log_text(run_id, _json(question), "question.json")
        return run_id

    @contextmanager
    def run(self, name: str, kind: str, model: str, task: str, question: Mapping[str, Any]) -> Iterator[str]:
        """`start`, and whatever ends the block before `finish` marks the run FAILED, or KILLED for an interrupt."""
        run_id = self.start(name, kind, model, task, question)
        with self.going(run_id):
            yield run_id

    @contextmanager
    def going(self, run_id: str) -> Iterator[None]:
        """Work on a run, started now or long ago; whatever ends the block before `finish` marks it as in `run`."""
        self.client.update_run(run_id, status="RUNNING")
        try:
            yield
        except Exception as error:
            self.fail(run_id, f"{type(error).__name__}: {error}")
            raise
        except BaseException as error:
            self.fail(run_id, type(error).__name__, status="KILLED")
            raise
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.fail(run_id, "ended without a result")

    def trial(
        self,
        parent_id: str,
        number: int,
        params: Mapping[str, Any],
        numbers: Mapping[str, float | None],
        state: str,
        folder: str | Path | None,
        study: str = "",
    ) -> str:
        """Record one trial of a study as a child run and return its id.

        Args:
            parent_id: the study's run; `number` is the trial's in it.
            params: what was suggested.
            numbers: its numbers; None is left out.
            state: Optuna's word: COMPLETE, PRUNED or FAIL.
            folder: where its predictions lie.
            study: the study's name.
        """
        tags = {
            "mlflow.parentRunId": parent_id,
            "mer_bench.kind": "trial",
            "mer_bench.trial": str(number),
            "mer_bench.study": study,
            "mer_bench.state": state,
            "mer_bench.tables": str(folder or ""),
        }
        run_id: str = self.client.create_run(self.experiment, tags=tags, run_name=f"trial {number}").info.run_id
        self._log(run_id, {key(k): float(v) for k, v in numbers.items() if v is not None}, flatten(params))
        self.client.set_terminated(run_id, "FAILED" if state.upper() == "FAIL" else "FINISHED")
        return run_id

    def trials_of(self, study: str) -> set[int]:
        """Numbers of a study's trials that are recorded; what a killed driver recorded by half is deleted."""
        query = f"tags.`mer_bench.kind` = 'trial' and tags.`mer_bench.study` = '{study}'"
        found = list(self._search(query))
        for run in found:
            if run.info.status == "RUNNING":
                self.client.delete_run(run.info.run_id)
        return {int(run.data.tags["mer_bench.trial"]) for run in found if run.info.status != "RUNNING"}

    def trial_runs(self, study: str = "", parent: str = "") -> list[str]:
        """Ids of the trials recorded for a study, or under a run."""
        of = f"tags.`mer_bench.study` = '{study}'" if study else f"tags.`mlflow.parentRunId` = '{parent}'"
        return [run.info.run_id for run in self._search(f"tags.`mer_bench.kind` = 'trial' and {of}")]

    def every(self) -> Iterator[Any]:
        """MLflow's runs of evaluations and studies, whatever became of them, newest first; trials left out."""
        yield from self._search("tags.`mer_bench.kind` != 'trial'")

    def remove(self, run_id: str) -> None:
        """Delete a run and its artifacts; `mlflow gc` empties the database's bin."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        address = self.client.get_run(run_id).info.artifact_uri
        get_artifact_repository(address).delete_artifacts()  # type: ignore[no-untyped-call]
        if address.startswith("file:"):
            with suppress(OSError):
                Path(unquote(urlsplit(address).path)).parent.rmdir()
        self.client.delete_run(run_id)

    def finish(
        self,
        run_id: str,
        result: Result,
        tables: Path | None = None,
        files: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store a result and close its run (FINISHED).

        Args:
            run_id: from `start` or `run`.
            result: what was found.
            tables: the folder of its predictions.
            files: path -> text, kept beside the scores for a reader who has MLflow's pages alone.
            tags: likewise.
        """
        self._log(run_id, metrics(result), flatten(result.question))
        with tempfile.TemporaryDirectory() as folder:
            texts = {
                **(files or {}),
                "question.json": _json(result.question),
                "scores.json": _compact(result.as_dict()),
            }
            for name, text in texts.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            table(result).write_parquet(Path(folder) / "scores.parquet")
            self.client.log_artifacts(run_id, folder)
        for name, text in {**(tags or {}), "mer_bench.tables": str(tables or ""), "mer_bench.scored": "yes"}.items():
            self.client.set_tag(run_id, name, text[:MAX_TAG])
        self.client.set_terminated(run_id, "FINISHED")

    def attach(self, run_id: str, name: str, text: str) -> None:
        """Keep a text beside a finished run."""
        self.client.log_text(run_id, text, name)

    def tables_of(self, run_id: str) -> Path:
        """Where a run's predictions lie; those of one that does not say, in the folder of its name."""
        told = self.client.get_run(run_id).data.tags.get("mer_bench.tables")
        return Path(told) if told else tables() / run_id

    def started(self, run_id: str) -> datetime:
        """When a run began (UTC)."""
        return datetime.fromtimestamp(self.client.get_run(run_id).info.start_time / 1000, UTC)

    def fail(self, run_id: str, reason: str, status: str = "FAILED") -> None:
        """Close a run that has no result, with the reason as a tag."""
        self.client.set_tag(run_id, "mer_bench.reason", reason[:MAX_REASON])
        self.client.set_terminated(run_id, status)

    def results(self, page: int = 500) -> list[Finished]:
        """All finished runs and studies, newest first; trials and failures are not among them.

        Raises:
            MerBenchError: a finished run's scores cannot be read.
        """
        query = "attributes.status = 'FINISHED' and tags.`mer_bench.scored` = 'yes'"
        found = [self._read(run.info) for run in self._search(query, page)]
        return sorted(found, key=lambda f: (f.started, f.run_id), reverse=True)

    def _search(self, query: str, page: int = 500) -> Iterator[Any]:
        token = None
        while True:
            runs = self.client.search_runs([self.experiment], query, max_results=page, page_token=token)
            yield from runs
            token = runs.token
            if not token:
                return

    def read(self, run_id: str) -> Finished:
        """One finished run; raises as `results`."""
        return self._read(self.client.get_run(run_id).info)

    def read_text(self, run_id: str, name: str) -> str:
        """A text that is kept beside a run."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run_id, name, folder)).read_text("utf-8")

    def _read(self, info: Any) -> Finished:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = self.client.download_artifacts(info.run_id, "scores.json", folder)
                result = Result.from_dict(json.loads(Path(path).read_text("utf-8")))
            except Exception as error:
                cure = (
                    f"put its artifacts back under {info.artifact_uri}, or `mlflow runs delete --run-id {info.run_id}`"
                )
                raise MerBenchError(f"run {info.run_id}: scores.json cannot be read ({error}); {cure}") from error
        return Finished(info.run_id, datetime.fromtimestamp(info.start_time / 1000, UTC), result)

    def _log(self, run_id: str, numbers: Mapping[str, float], params: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param

        logged = [Metric(k, v, int(time.time() * 1000), 0) for k, v in numbers.items()]
        self.client.log_batch(run_id, logged, [Param(k, v) for k, v in params.items()])


def open(uri: str | None = None) -> Tracker:
    """The project's experiment, made with its database if need be.

    Args:
        uri: an MLflow tracking address; by default `MLFLOW_TRACKING_URI`, else sqlite in `mlruns/` below the current
            folder. Artifacts lie beside a sqlite database; a server has its own place.

    Raises:
        MerBenchError: the store cannot be opened.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(Path.cwd() / 'mlruns/mlflow.db').as_posix()}"
    folder = Path.cwd() / "mlruns"
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///").split("?")[0]).resolve().parent
    location = None if uri.startswith("http") else (folder / "artifacts").as_uri()
    try:
        with _alone(folder) if location else nullcontext():
            client = MlflowClient(uri)
            return Tracker(client, _experiment(client, location))
    except (MlflowException, ImportError) as error:
        cure = "check MLFLOW_TRACKING_URI, or unset it to use sqlite under ./mlruns"
        reason = f"cannot open the MLflow store {uri}: {str(error).splitlines()[0]}"
        # An address may hold a password, and MLflow repeats the address.
        raise MerBenchError(f"{re.sub('//[^@/]*@', '//', reason)}; {cure}") from error


def tables() -> Path:
    """Where runs keep their predictions, one folder each; absolute, because workers start elsewhere."""
    return Path.cwd() / "mlruns" / "tables"


@contextmanager
def held(run_id: str) -> Iterator[Path]:
    """The folder of a run's tables, and its lock for as long as this process works on it: `runs list` looks at it."""
    folder = tables() / run_id
    folder.parent.mkdir(parents=True, exist_ok=True)
    with cache.claimed(folder):
        try:
            yield folder
        finally:
            folder.with_name(f".{folder.name}.lock").unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: two that make the schema of one fresh sqlite database crash each other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _experiment(client: Any, location: str | None) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    if found.lifecycle_stage != "active":
        cure = f"bring it back with `mlflow experiments restore --experiment-id {found.experiment_id}`"
        raise MerBenchError(f"the MLflow experiment {EXPERIMENT} was deleted; {cure}")
    return str(found.experiment_id)


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=1, sort_keys=True, default=plain)


def _compact(data: Mapping[str, Any]) -> str:
    # unsorted: classes are in label order, rules in the project's
    return json.dumps(data, default=plain, separators=(",", ":"))
