"""Studies with invented folds, written as a search writes them, without training anything; no number was measured."""

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import toy

from mer_bench import hindsight, selection
from mer_bench.contracts import PAPER_SCALE, Recipe, Setting
from mer_bench.records import grading
from mer_bench.records.evidence import Evidence, Trial
from mer_bench.records.scores import Result
from mer_bench.records.tracking import Finished
from mer_bench.searching import proposer, shelf, studies, trials
from mer_bench.searching.space import Space
from mer_bench.training import fold, loso

BANNER = "SYNTHETIC avatar faces: not evidence of MER performance"
SIZES = (7, 5, 6, 8, 5, 6, 7, 6)
EPOCHS = 4


def subjects(sizes=SIZES):
    return [f"toy/{i:02d}" for i in range(len(sizes))]


def clips(sizes=SIZES):
    return toy.corpus(signal=0, sizes=sizes).clips


def question(folder, trials=6, sizes=SIZES, name="tiny-toy-0123abcd", **changes):
    """A study of the toy corpus; its model is never trained."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.py").write_text(toy.MODEL)
    space, order = Space(str(folder / "tiny.py"), {}), studies.shuffled(subjects(sizes), 0)
    settings = {"sampler": "qmc", "seed": 0, **changes}
    return studies.Study(
        space, "toy", PAPER_SCALE, trials=trials, folder=folder / "mlruns" / "tables" / name, folds=order, **settings
    )


def skill(values):
    """How good a setting is: a learning rate near .01 and eight hidden units."""
    return 2.2 - 1.4 * abs(math.log10(values["lr"]) + 2) + 0.05 * values["hidden"]


def finished_fold(study, place, values, table, rng, good, diverged=""):
    """What training a fold hands back: answers about `good` times as sure as they are noisy."""
    held = study.folds[place]
    validates = study.folds[(place + 1) % len(study.folds)], study.folds[(place + 2) % len(study.folds)]
    setting = Setting(
        "tiny", {"hidden": values["hidden"]}, Recipe(epochs=EPOCHS, batch_size=8, lr=values["lr"]), "flow@28"
    )
    training = fold.Training("toy", setting, study.seed, held, validation=True)
    if diverged:
        return fold.Finished(training, {}, "", 0.5, diverged)
    owner = table["subject"].to_numpy()
    sides = (np.flatnonzero(np.isin(owner, validates)), np.flatnonzero(owner == held))
    answers = []
    for rows in sides:
        labels = table["label"].to_numpy()[rows]
        grown = np.linspace(0.4, 1.0, EPOCHS)[:, None, None] * good * np.eye(3)[labels]
        logits = grown + rng.normal(0, 1, (EPOCHS, len(rows), 3))
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        answers.append(odds / odds.sum(-1, keepdims=True))
    return fold.Finished(training, fold._tables(training, table, sides, tuple(answers)), "cafe", 0.5)


def trial(study, number, values, state=trials.COMPLETE, folds=None, reason="", sizes=SIZES, good=None, diverged=None):
    """Write a trial with its first `folds` folds; `state` None leaves it running, `diverged` names a place."""
    rng, table = np.random.default_rng([study.seed, number]), clips(sizes)
    trials.propose(study, number, values)
    good = skill(values) if good is None else good
    for place in range(len(study.folds) if folds is None else folds):
        done = finished_fold(study, place, values, table, rng, good, "loss is nan" if place == diverged else "")
        loso.write(trials.folder(study, number) / "folds" / f"{place:03d}", [done], {"trial": number})
    return trials.close(study, number, state, reason) if state else None


def quick(study, number, values, state=trials.COMPLETE, folds=None, reason="", sizes=SIZES):
    """As `trial`, all folds written at once."""
    rng, table = np.random.default_rng([study.seed, number]), clips(sizes)
    count = len(study.folds) if folds is None else folds
    trials.propose(study, number, values)
    done = [finished_fold(study, place, values, table, rng, skill(values)) for place in range(count)]
    score = 0.0
    if done:
        loso.write(trials.passed(study, number), done, {"trial": number, "values": values})
        score = selection.inner_uf1(trials.passed(study, number))
    end = trials.Ended(number, values, state, reason, score, count, 0.5 * count)
    (trials.folder(study, number) / "ended.json").write_text(json.dumps(asdict(end)))
    return end


def run(study, fates=(), sizes=SIZES):
    """Propose and write all trials; `fates` says of each how it ends: (state, folds, reason), finished by default.

    Trial 0 and those that have not ended are written fold by fold, the others at once.
    """
    shelf.introduce(study, "tiny")
    asking, fates = proposer.Proposer(study), dict(fates)
    for number in range(study.trials):
        _, values = asking.next()
        state, folds, reason = fates.get(number, (trials.COMPLETE, None, ""))
        write = quick if number and state else trial
        end = write(study, number, values, state, folds, reason, sizes)
        if end:
            asking.tell(end)


def concluded(study, sizes=SIZES, **changes):
    """The study's result by its own rules; what refits would say is taken from the trials as they are."""
    folders, table = trials.candidates(study), clips(sizes)
    rules, chance = {}, {}
    for rule in ("nested-no-refit", "shared-no-refit", "oracle-trial"):
        chosen = studies.conclude(rule, folders, studies.Refits(study, 1, 1, lambda rule: None))
        rules[rule], chance[rule] = grading.grade(rule, chosen, table, toy.TASK.classes)
    for rule in ("nested", "shared"):
        rules[rule] = replace(rules[f"{rule}-no-refit"], trained_on=grading.ALL)
        chance[rule] = chance[f"{rule}-no-refit"]
    rules = {rule: rules[rule] for rule in selection.STUDY_RULES}
    ended = trials.everything(study)
    tried = tuple(
        Trial(e.number, dict(e.values), e.inner_uf1 if e.state == trials.COMPLETE else None, e.seconds, e.reason)
        for e in ended
    )
    known = hindsight.outcomes(folders)
    told = {
        "bias_corrected": hindsight.bias_corrected(known, study.seed),
        "best_so_far": [list(row) for row in hindsight.best_so_far(known)],
    }
    record = Evidence((), tried, studies.Searched(study, folders, ("nested", "shared")).choices, 0)
    facts = {
        "kind": "search", "model": "tiny", "setting_name": "searched", "task": "toy", "task_version": 1,
        "task_sha256": "ab12cd34", "seeds": 1, "clips": len(table), "subjects": len(sizes), "folds_done": len(sizes),
        "folds_total": len(sizes), "trials": len(ended), "strictness": study.strictness, "parameters": 1234,
        "seconds": 75.0, "device": "cpu", "banner": BANNER, "question": {"seed": study.seed}, "evidence": record,
        "effort": trials.effort(study, ended), "hindsight": told,
    }  # fmt: skip
    return Result(chance=chance, rules=rules, **{**facts, **changes})


def on_record(study, done=True, trials_asked=None, **asked):
    """Write `study.json` as a search does; the run's id."""
    published = {"model": "tiny", "options": {"hidden": 6}, "recipe": {"epochs": EPOCHS, "lr": 0.01}}
    what = {"sampler": study.sampler, "seed": study.seed, "racing": study.racing, "inner_folds": 1, "pinned": {}}
    what |= {"published": published, "scale": "task", "space": "6620a180", "device": "cpu", **asked}
    run_id = "ab" * 16
    count = trials_asked or study.trials
    typed = (
        f"mer-bench search /home/somebody/tiny.py --task toy --trials {count} --sampler {study.sampler} --device cpu"
    )
    runs = {"sought": {"run_id": run_id, "done": done, "trials": count, "command": typed}}
    study.folder.mkdir(parents=True, exist_ok=True)
    (study.folder / "study.json").write_text(json.dumps({"question": what, "runs": runs}))
    return run_id


def recorded(folder, fates=(), sizes=SIZES, **changes):
    """A finished study on disk and its result: (study, Finished)."""
    study = question(folder, sizes=sizes, **changes)
    run(study, fates, sizes)
    found = concluded(study, sizes)
    return study, Finished(on_record(study), datetime(2025, 1, 2, 3, 4, tzinfo=UTC), found)
