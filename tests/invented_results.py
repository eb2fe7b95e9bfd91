"""Invented results: no number here was measured."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from mer_bench import metrics
from mer_bench.records.evidence import Curve, Evidence, Trial
from mer_bench.records.scores import Result, RuleScore

HELD = "training subjects without validation subjects"
BANNER = "SYNTHETIC avatar faces: not evidence of MER performance"


def rule(uf1, **changes):
    low, high = round(uf1 - 0.1, 3), round(uf1 + 0.08, 3)
    facts = {"uar": uf1 - 0.02, "accuracy": uf1 + 0.05, "weighted_f1": uf1 + 0.03, "mean_of_folds_f1": uf1 - 0.2}
    return RuleScore(**{"uf1": uf1, "uf1_interval": (low, high), **facts, **changes})


def result(model="mmnet", task="synth-3", rules=None, **changes):
    rules = rules or {
        "last": rule(0.703, uf1_sd=0.011),
        "inner": rule(0.69, trained_on=HELD),
        "oracle-epoch": rule(0.81, leaky=True),
    }
    facts = {
        "kind": "run",
        "setting_name": "published recipe at the task's scale",
        "task_version": 1,
        "task_sha256": "ab12cd34ef",
        "seeds": 3,
        "clips": 240,
        "subjects": 24,
        "folds_done": 24,
        "folds_total": 24,
        "trials": None,
        "strictness": "",
        "chance": {name: 0.331 for name in rules},
        "parameters": 1_234_567,
        "seconds": 754.0,
        "device": "cpu",
        "banner": BANNER,
        "question": {"setting": {"recipe": {"lr": 0.0008}, "options": {"depths": [1, 2]}}, "seeds": 3},
        "versions": {"torch": "2.9"},
    }
    return Result(**{"model": model, "task": task, "rules": rules, **facts, **changes})


def study(**changes):
    rules = {
        "nested": rule(0.66),
        "nested-no-refit": rule(0.65, trained_on=HELD),
        "oracle-trial": rule(0.74, leaky=True),
    }
    return result(**{"kind": "search", "rules": rules, "trials": 200, "strictness": "strict", "seeds": 1, **changes})


CLASSES = ("negative", "positive", "surprise")
SUBJECTS = tuple(f"{corpus}/{number:02d}" for corpus, many in (("casme2", 9), ("samm", 7)) for number in range(many))


def counted(uf1_like, seeds=2, noise=0, leaky=False, **changes):
    """A rule's score with counts of invented subjects, about `uf1_like` of whose clips are right."""
    truth = np.random.default_rng(7)
    rng = np.random.default_rng([noise, int(1000 * uf1_like)])
    by_subject = {}
    for subject in SUBJECTS:
        labels = truth.integers(0, 3, truth.integers(4, 16))
        parts = []
        for _ in range(seeds):
            right = rng.random(len(labels)) < uf1_like
            said = np.where(right, labels, (labels + rng.integers(1, 3, len(labels))) % 3)
            parts.append(metrics.confusion(labels, said, 3).tolist())
        by_subject[subject] = parts
    pooled = np.array(list(by_subject.values())).sum(0)
    f1 = metrics.f1_per_class(pooled).mean(0)
    per_class = {
        name: {
            "f1": f1[k],
            "low": f1[k] / 2,
            "high": 1.0,
            "recall": 0.5,
            "precision": 0.5,
            "clips": int(pooled[0, k].sum()),
        }
        for k, name in enumerate(CLASSES)
    }
    scores = {"uf1": float(f1.mean()), "uar": float(metrics.uar(pooled).mean()), "accuracy": uf1_like}
    made = {
        **scores,
        "seeds": seeds,
        "by_subject": by_subject,
        "per_class": per_class,
        "uf1_sd": 0.01 if seeds > 1 else None,
    }
    found = rule(made["uf1"], leaky=leaky)
    return replace(found, **{**made, **changes})


def measured(model="mmnet", skill=0.6, task="synth-3", seeds=2, noise=0, **changes):
    """A run with counts, a curve, costs and a paper."""
    rules = {
        "last": counted(skill, seeds, noise),
        "oracle-epoch": counted(min(skill + 0.1, 1.0), seeds, noise, leaky=True),
    }
    curve = Curve("test UF1", tuple(tuple(skill * e / 12 for e in range(1, 13)) for _ in range(seeds)), leaky=True)
    facts = {"clips": 160, "subjects": 16, "folds_done": 16, "folds_total": 16, "seeds": seeds}
    facts |= {"macs": 21_590_000, "latency": 3.16, "evidence": Evidence(curves=(curve,))}
    return result(**{"model": model, "task": task, "rules": rules, **facts, **changes})


def searched(model="mmnet", skill=0.65, trials=12, **changes):
    """A study with its trials and choices."""
    rng = np.random.default_rng(3)
    tried = tuple(
        Trial(n, {"lr": float(10 ** rng.uniform(-4, -1)), "head": ("flatten", "gap")[n % 2], "prior": True},
              None if n == 5 else float(rng.uniform(0.4, 0.7)), 3.0, "loss is nan" if n == 5 else "")
        for n in range(trials)
    )  # fmt: skip
    choices = {"nested": {s: (int(rng.integers(0, 4)), 7) for s in SUBJECTS}}
    rules = {
        "nested": counted(skill, 1, 1),
        "nested-no-refit": counted(skill - 0.02, 1, 2, trained_on=HELD),
        "oracle-trial": counted(skill + 0.08, 1, 3, leaky=True),
    }
    record = Evidence((Curve("validation UF1 of trial 1", ((0.4, 0.5, 0.6),)),), tried, choices, 1)
    facts = {"kind": "search", "trials": trials, "strictness": "strict", "evidence": record, "rules": rules}
    return measured(model, skill, **{"seeds": 1, **facts, **changes})


def finished(*results):
    """Run ids and starts, a day apart, the first one oldest."""
    return [
        (f"{i:032x}"[::-1], datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(days=i), r)
        for i, r in enumerate(results)
    ]
