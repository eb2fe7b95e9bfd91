"""Invented results: no number here was measured."""

from mer_bench.scores import Result, RuleScore

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
