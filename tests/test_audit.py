"""Claims by hand and those of the catalogue's papers."""

import pytest

from mer_bench import catalog
from mer_bench.claims import audit
from mer_bench.claims.printed import window
from mer_bench.contracts import MerBenchError, Paper, Printed


def claim(classes=(), table=(), **printed):
    return audit.Claim({name: window(text) for name, text in printed.items()}, classes, table)


def paper(*printed, confusions=None):
    return Paper("A paper", 2020, "https://example.org", "none", printed=printed, confusions=confusions or {})


def test_what_cannot_be_says_so_and_what_could_be_nearest():
    found = audit.judge(claim((70, 51, 43), uf1=".2000", uar=".5280"))
    assert found.suspicious
    said = found.words()
    assert "UF1 .2000, UAR .5280: IMPOSSIBLE with classes 70/51/43" in said
    assert "nearest UF1 0.3983 with the other as printed" in said
    told = found.as_json()
    assert told["attainable"] is False and told["nearest"]["uf1"] == pytest.approx(0.39828, abs=2e-5)


def test_accuracies_without_class_sizes():
    assert "149/156" in audit.judge(claim(accuracy="95.51")).words()
    found = audit.judge(claim(accuracy="88.35"), range(240, 260))
    assert found.clips == [(220, 249)] and found.as_json()["clips"] == [[220, 249]]
    assert "no number of clips" in audit.judge(claim(accuracy="88.35"), range(240, 249)).words()
    assert not found.suspicious and found.as_json()["attainable"] is None


def test_an_accuracy_of_other_clips_than_the_tasks():
    said = audit.judge(claim((32, 63, 27, 25, 99), accuracy="88.35")).words()
    assert "IMPOSSIBLE" in said and "220/249" in said
    assert "fits" not in audit.judge(claim((32, 64, 27, 27, 99), accuracy="88.35")).words()


def test_mean_precision_printed_as_uar():
    table = ((219, 22, 9), (40, 62, 7), (21, 3, 59))
    found = audit.judge(claim((250, 109, 83), table, uf1=".7353", uar=".7605"))
    assert found.means == {"uar": ["mean precision"]} and found.suspicious
    assert "UAR 0.7186; .7605 is its mean precision" in found.words()
    assert "none of its scores" in audit.judge(claim((250, 109, 83), table, uar=".9")).words()


def test_nothing_to_audit():
    with pytest.raises(MerBenchError, match="--uf1"):
        audit.judge(claim())


def test_claims_of_the_catalogue(monkeypatch):
    """Together where they come from one table, apart under oracle-mmnet; a column has the digits of its longest."""
    printed = (
        Printed("megc2019-3/smic", "uf1", 0.2, "last"),
        Printed("megc2019-3/smic", "uar", 0.528, "last"),
        Printed("megc2019-3", "uf1", 0.5882, "last"),
        Printed("megc2019-3", "uar", 0.5785, "last"),
        Printed("elsewhere-5", "accuracy", 0.8835, "oracle-mmnet"),
        Printed("elsewhere-5", "uf1", 0.8676, "oracle-mmnet"),
        Printed("elsewhere-5", "weighted_f1", 0.9, "oracle-mmnet"),
    )
    made = {"one": paper(*printed), "two": None}
    monkeypatch.setattr(catalog, "names", lambda kind: sorted(made) if kind == "baseline" else [])
    monkeypatch.setattr(catalog, "baseline", lambda name: type("Some", (), {"paper": made[name]}))
    first, second, *others = audit.claims()
    assert {name: one.text for name, one in first.numbers.items()} == {"uf1": "0.2000", "uar": "0.5280"}
    assert first.classes == (70, 51, 43) and audit.judge(first).finding.attainable is False
    assert second.classes == (250, 109, 83) and audit.judge(second).finding.attainable
    assert [sorted(one.numbers) for one in others] == [["accuracy"], ["uf1"]]
    assert "one elsewhere-5 (oracle-mmnet): accuracy 0.8835: the accuracy fits" in audit.judge(others[0]).words()
    assert audit.judge(others[1]).words().endswith("class sizes not known")


def test_the_catalogue_as_it_is():
    """All of it, within seconds: an exact search is only made where guesses find no table."""
    found = {(one.claim.model, one.claim.task, *one.claim.numbers): one for one in map(audit.judge, audit.claims())}
    ststnet = found["ststnet", "megc2019-3", "uf1", "uar", "accuracy"]
    assert ststnet.finding.attainable and ststnet.means == {"uar": ["mean precision"]}
    smic = found["lbp_top", "megc2019-3/smic", "uf1", "uar"]
    assert smic.finding.attainable is False and smic.finding.nearest["uf1"] == pytest.approx(0.39828, abs=2e-5)
    assert found["lbp_top", "megc2019-3", "uf1", "uar"].finding.attainable
    assert (149, 156) in found["mmnet", "casme2-3-mmnet", "accuracy"].clips
    assert (220, 249) in found["mmnet", "casme2-5-mmnet", "accuracy"].clips
    assert found["mmnet", "mmew-4", "uf1"].finding.attainable
    samm = found["mmnet", "samm-3", "accuracy"].finding
    assert samm.attainable is False and samm.cut_off and samm.nearest["accuracy"] == pytest.approx(120 / 133, abs=2e-5)
    suspicious = {key[:2] for key, one in found.items() if one.suspicious}
    assert suspicious == {("ststnet", "megc2019-3"), ("lbp_top", "megc2019-3/smic"), ("mmnet", "samm-3")}
    assert {"mmnet", "ststnet", "lbp_top", "htnet"} <= {model for model, *_ in found}
