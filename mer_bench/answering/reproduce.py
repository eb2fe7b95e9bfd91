"""Run a recorded evaluation again, from its stored question, and compare what it says clip by clip.

    passes of the run (pass.json: seed, fold, setting, epochs)  ──►  the same trainings  ──►  tables side by side

Of a run the passes over all folds are repeated; of a study each fold's choice is derived again from the stored
validation tables and the refits that speak for it are repeated (`trials` repeats every trial too).
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mer_bench import catalog, metrics, predictions, processes, selection
from mer_bench.answering.ready import Tick, files, usable
from mer_bench.contracts import MerBenchError, Remark, Setting, UsageError
from mer_bench.pixels import inputs
from mer_bench.records import grading, provenance, tracking
from mer_bench.searching import finals, studies
from mer_bench.training import fold, loso

ALL, HELD, PASS, REFIT, TRIAL = "all", "held", "pass", "refit-", "trial-"
SHOWN = 20
SAME = 1e-9
COMPARED: dict[str, Any] = {
    "pass": pl.String,
    "seed": pl.Int32,
    "fold": pl.String,
    "clip": pl.String,
    "then": pl.Int8,
    "now": pl.Int8,
    "largest": pl.Float64,
    "differs": pl.Boolean,
}


@dataclass(frozen=True)
class Reproduced:
    """How a repetition compares.

    Args:
        run_id: whose.
        clips: clips compared.
        differing: one row per clip, pass and seed whose stored probabilities differ at any epoch: `pass, seed, fold,
            clip, then, now` (predicted classes at the last epoch; null where one side has none), `largest` difference.
        changed: what is not as it was when the run was recorded, in words.
    """

    run_id: str
    clips: int
    differing: pl.DataFrame
    changed: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The clips that differ."""
        return sorted(set(self.differing["clip"]))

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        rows = self.differing.to_dicts()
        return {
            "run_id": self.run_id,
            "clips": self.clips,
            "differing": self.names,
            "rows": rows,
            "changed": list(self.changed),
        }

    def words(self) -> str:
        """Lines for people; what changed is said first."""
        found = [*self.changed, f"{len(self.names)} of {self.clips} clips differ"]
        other = self.differing.filter(pl.col("then").ne_missing(pl.col("now")))
        if len(self.differing):
            found[-1] += f", {other['clip'].n_unique()} of them in the class predicted at the last epoch"
        for row in self.differing.head(SHOWN).iter_rows(named=True):
            now = f"{row['then']} -> {row['now']}"
            found.append(f"  {row['clip']}  {row['pass']}, seed {row['seed']}: {now}, by {row['largest'] or 1:.4f}")
        if len(self.differing) > SHOWN:
            found.append(f"  and {len(self.differing) - SHOWN} rows more; --json lists them all")
        return "\n".join(found)


def reproduce(run: str, *, trials: bool = False, workers: int | None = None, tick: Tick | None = None) -> Reproduced:
    """Repeat a recorded run.

    Args:
        run: its id, the beginning of it, or the folder of its tables.
        trials: of a study repeat every trial, not only what speaks in the end.
        workers: processes; by default one a core.
        tick: called with (done, total, text).

    Raises:
        UsageError: no such run, or several; its device is not on this machine.
        MerBenchError: its tables are gone, or it was not made here.
    """
    found = find(run)
    tables = Path(run) if _is_folder(run) else tracking.open().tables_of(found.run_id)
    if set(found.result.rules) & set(selection.UNVERIFIED):
        raise MerBenchError(f"run {found.run_id[:8]} is of what was made elsewhere, which cannot be repeated here")
    passes = _passes(found, tables, trials)
    if not passes:
        raise MerBenchError(f"{tables} holds no complete pass of run {found.run_id[:8]}; put its tables back")
    task, question = found.result.task, found.result.question
    usable(question["device"])
    _patience(question)
    fold.forget()
    changed = _changed(found, passes) + _choices(found, tables, passes) + _numbers(found, passes)
    parts = []
    with tempfile.TemporaryDirectory(prefix="reproduce-") as place:
        for folder in passes:
            again = Path(place) / _name(folder)
            trainings = _trainings(folder, task, question)
            named = _named(tick, f"{_name(folder)} again")
            loso.run_pass(trainings, again, {}, workers=processes.workers(workers), tick=named)
            parts.append(compare(folder, again))
    clips = set().union(*(part["clip"] for part in parts))
    differing = pl.concat([part.filter("differs").drop("differs") for part in parts])
    return Reproduced(found.run_id, len(clips), differing, tuple(changed))


def find(run: str) -> tracking.Finished:
    """The finished run of that id, beginning of an id, or folder of tables.

    Raises:
        UsageError: there is none, or several.
    """
    name = Path(run).resolve().name if _is_folder(run) else run
    found = [one for one in tracking.open().results() if name and one.run_id.startswith(name)]
    if len(found) != 1:
        many = f"{len(found)} runs begin with {run!r}: {', '.join(one.run_id[:12] for one in found[:5])}"
        raise UsageError(many if found else f"no finished run {run!r} in the store; mer-bench report lists them")
    return found[0]


def compare(stored: Path, again: Path) -> pl.DataFrame:
    """Two passes clip by clip: `pass, seed, fold, clip, then, now, largest, differs`.

    Seeds are paired in their order, so that a run whose seed was edited is still compared.
    """
    first, second = (_answers(folder) for folder in (stored, again))
    found = []
    for key in sorted(first.keys() | second.keys()):
        then, now = first.get(key), second.get(key)
        paired = then is not None and now is not None and then[2].shape == now[2].shape
        largest = float(np.abs(then[2] - now[2]).max()) if then and now and paired else None
        seed = (then or now or (key[0],))[0]
        said = [None if side is None else side[1] for side in (then, now)]
        found.append((_name(stored), seed, *key[1:], *said, largest, largest != 0))
    return pl.DataFrame(found, schema=COMPARED, orient="row")


def _answers(folder: Path) -> dict[tuple[int, str, str], tuple[int, int, np.ndarray]]:
    """(nth seed, fold, clip) -> seed, class said at the last epoch, probabilities of all epochs (epochs, classes)."""
    rows = selection.stored(folder).sort("epoch")
    seeds = sorted(rows["seed"].unique())
    found = {}
    for (seed, of_fold, clip), part in rows.group_by("seed", "fold", "clip", maintain_order=True):
        key = (seeds.index(seed), str(of_fold), str(clip))
        found[key] = (int(seed), int(part["prediction"][-1]), predictions.probabilities(part))
    return found


def _is_folder(run: str) -> bool:
    return bool(run) and Path(run).is_dir()


def _name(folder: Path) -> str:
    """A pass's name: a trial's is its folder's."""
    return folder.parent.name if folder.name == PASS else folder.name


def _passes(found: tracking.Finished, tables: Path, trials: bool) -> list[Path]:
    """The folders to repeat: passes of a run, refits of a study (else, or with `trials`, its trials too)."""
    whole = sorted(folder for folder in tables.glob("*") if (folder / predictions.DONE).is_file())
    spoken = [folder for folder in whole if not folder.name.startswith(REFIT) or _speaks(found, folder)]
    return spoken + _trials(found, tables) if trials or not spoken else spoken


def _trials(found: tracking.Finished, tables: Path) -> list[Path]:
    folders = (tables / f"{TRIAL}{number:04d}" / PASS for number in range(found.result.trials or 0))
    return [folder for folder in folders if (folder / predictions.DONE).is_file()]


def _patience(question: Mapping[str, Any]) -> None:
    """Say beforehand that a run in bf16 will take long where a processor has no instructions for it."""
    from mer_bench.training import probes

    if question.get("bf16") and question["device"] == "cpu" and (times := probes.slower_in_bf16()) > probes.SLOW:
        said = f"it was trained in bf16, in which this processor takes {times:.0f} times as long as in float32"
        warnings.warn(Remark(f"{said}; repeat it where bf16 is quick"), stacklevel=3)


def _speaks(found: tracking.Finished, refit: Path) -> bool:
    """Whether a refit is this run's: a study that went on has others, named by other choices."""
    if found.result.evidence is None:
        return True
    chosen = found.result.evidence.choices.get(_rule(refit), {})
    return refit.name == studies.refit_name(_rule(refit), chosen, found.result.seeds)


def _rule(refit: Path) -> str:
    return refit.name.removeprefix(REFIT).split("-")[0]


def _trainings(folder: Path, task: str, question: Mapping[str, Any]) -> list[fold.Training]:
    """The trainings of a pass, as its record states them."""
    validation = folder.name in (HELD, PASS)
    formats = {name: question[name] for name in ("bf16", "channels_last", "compiled", "device") if name in question}
    return [
        fold.Training(
            task,
            Setting.from_dict(part["setting"]),
            part["seed"],
            part["fold"],
            validation=validation,
            stop_after=part["stop_after"],
            inner_folds=question.get("inner_folds", 1) if validation else 1,
            **formats,
        )
        for part in predictions.record(folder)["folds"]
    ]


def _changed(found: tracking.Finished, passes: Sequence[Path]) -> list[str]:
    """What is not as it was: the method's file, the inputs, the versions."""
    result, question = found.result, found.result.question
    setting = Setting.from_dict(predictions.record(passes[0])["folds"][0]["setting"])
    here = provenance.versions()
    now = {
        f"the code of {result.model}": (question["code"], catalog.fingerprint(setting.model)),
        f"the inputs of {result.task}": (question["inputs"], _key(result, setting)),
        **{
            f"the file that {name} names": (then, files(setting).get(name, "gone"))
            for name, then in question.get("files", {}).items()
        },
        **{name: (then, here.get(name, "not known")) for name, then in result.versions.items()},
    }
    return [f"CHANGED: {name} was {then}, is {is_now}" for name, (then, is_now) in now.items() if then != is_now]


def _key(result: Any, setting: Setting) -> str:
    """The inputs' hash; the recorded one is of the setting that the question states, not of any trial's."""
    stated = result.question.get("setting") or result.question.get("published")
    return inputs.load(result.task, stated["view"] if stated else setting.view).key


def _choices(found: tracking.Finished, tables: Path, passes: Sequence[Path]) -> list[str]:
    """Of a study: folds for which the stored validation tables now choose otherwise than was refitted."""
    ended = {folder: json.loads((folder.parent / "ended.json").read_text()) for folder in _trials(found, tables)}
    folders = {end["number"]: folder for folder, end in ended.items() if end["state"] == "COMPLETE"}
    said = []
    for folder in passes if folders else ():
        if folder.name.startswith(REFIT):
            choices = _chosen(found, tables, _rule(folder), folders)
            derived = {name: [c.trial, c.epoch] for (_, name), c in choices.items()}
            told = predictions.record(folder)["choices"]
            other = sorted(name for name in derived.keys() | told.keys() if derived.get(name) != told.get(name))
            many = f"{_rule(folder)} now chooses another trial or epoch for {len(other)} folds: {', '.join(other)}"
            said += [f"CHANGED: {many}"] if other else []
    return said


def _chosen(
    found: tracking.Finished, tables: Path, rule: str, folders: Mapping[int, Path]
) -> Mapping[tuple[int, str], selection.Choice]:
    question = found.result.question
    if question.get("top"):
        asked = finals.Finals(tables, question["seed"], question["top"], found.result.seeds)
        return finals.choose(rule, folders, asked).choices
    return studies.chosen_by(rule, folders)


def _numbers(found: tracking.Finished, passes: Sequence[Path]) -> list[str]:
    """Rules whose recorded UF1 is not that of the stored predictions; rules of several passes are not asked."""
    places, said = {_name(folder): folder for folder in passes}, []
    ends = [end for folder in passes for end in predictions.record(folder)["folds"]]
    lost = {end["fold"] for end in ends if end["diverged"]}
    for rule, score in found.result.rules.items():
        refits = [folder for name, folder in places.items() if name.rpartition("-")[0] == REFIT + rule]
        if rule in selection.RUN_RULES:
            rows = selection.of_run(rule, places.get(ALL), places.get(HELD)).without(lost).rows
        elif len(refits) == 1 and not lost:
            rows = selection.last(refits[0]).rows
        else:
            continue
        counts, _ = grading.by_subject(rows, len(score.per_class))
        now = float(metrics.uf1(counts.sum(0), absent="zero").mean())
        if abs(now - score.uf1) > SAME:
            said.append(f"CHANGED: UF1 of {rule} was recorded as {score.uf1:.4f}, the stored predictions say {now:.4f}")
    return said


def _named(tick: Tick | None, text: str) -> Tick | None:
    return (lambda done, total, _: tick(done, total, text)) if tick else None
