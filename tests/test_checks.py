"""`score`, `audit` and `reproduce` as typed."""

import json

import pytest
from test_scoring import CLIPS, task  # noqa: F401, the invented task
from typer.testing import CliRunner

from mer_bench.claims import audit
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.door.cli import app


def typed(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_audit_by_hand():
    said = typed("audit", "--classes", "70,51,43", "--uf1", ".2000", "--uar", ".5280")
    assert "IMPOSSIBLE" in said and "0.3983" in said
    (told,) = json.loads(typed("audit", "--accuracy", "95.51", "--clips", "150-160", "--json"))
    assert told["clips"] == [[149, 156]]
    said = typed("audit", "--confusion", "219,22,9;40,62,7;21,3,59", "--uar", ".7605")
    assert "possible with classes 250/109/83" in said and "mean precision" in said
    assert "uar 0.7186" in typed("audit", "--confusion", "219,22,9;40,62,7;21,3,59")


def test_audit_of_the_catalogue(monkeypatch):
    claims = [claim for claim in audit.claims() if claim.model == "ststnet"]
    monkeypatch.setattr(audit, "claims", lambda: claims)
    lines = typed("audit").splitlines()
    assert any(line.startswith("ststnet megc2019-3 (last)") and "mean precision" in line for line in lines)
    assert lines[-1].endswith(f"of {len(lines) - 1} claims are not what they say")
    assert len(json.loads(typed("audit", "--json"))) == len(lines) - 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--classes", "70;51", "--uf1", ".2"], "--classes '70;51' should read like 70,51,43"),
        (["--classes", "70,51"], "--uf1, --uar or --accuracy"),
        (["--clips", "many", "--accuracy", ".5"], "--clips 'many' should read like 240-260"),
        (["--confusion", "1,2;3", "--uf1", ".5"], "2 rows of 2 counts"),
        (["--confusion", "1,2;3,4", "--classes", "3,8"], "sum to --classes"),
        (["--uf1", "high"], "no printed share"),
    ],
)
def test_audit_that_cannot_be(words, said):
    with pytest.raises(UsageError) as caught:
        typed("audit", *words)
    assert said in str(caught.value)


def test_score_prints_and_answers(tmp_path):
    CLIPS.rename({"label": "prediction"}).select("clip", "prediction").write_csv("x.csv")
    assert "pooled UF1        1.0000 [1.0000, 1.0000] over subjects" in typed("score", "x.csv", "-t", "invented-3")
    told = json.loads(typed("score", "x.csv", "-t", "invented-3", "--json"))
    assert told["pooled_uf1"] == 1 and told["notes"] == [] and told["mean_of_folds_f1"] <= 1
    with pytest.raises(MerBenchError, match="without a prediction"):
        CLIPS.rename({"label": "prediction"}).select("clip", "prediction")[1:].write_csv("x.csv")
        typed("score", "x.csv", "-t", "invented-3")
