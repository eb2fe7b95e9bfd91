"""Every corpus reads its invented miniature release; every known trap is met with a message or a mend."""

import csv
import shutil

import numpy as np
import polars as pl
import pytest
import releases

from mer_bench import catalog, clips, predictions
from mer_bench.answering import commands
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import apex, cache, inputs, inspection

TASKS = [(name, task) for name in releases.CORPORA for task in releases.expected(name)["tasks"]]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All miniature releases, read by many tests and changed by none."""
    root = tmp_path_factory.mktemp("releases with spaces, größe")
    for name in releases.CORPORA:
        releases.build(name, root / name)
    return root


@pytest.fixture
def world(built, monkeypatch):
    """The releases, added by MER_BENCH_DATA, with the miniature's own counts pinned."""
    monkeypatch.setenv("MER_BENCH_HOME", str(built.parent / "home"))
    monkeypatch.setenv("MER_BENCH_DATA", str(built))
    # one database of runs for all: making it costs more than a run
    monkeypatch.chdir(built)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    releases.shrink(monkeypatch)
    return built


@pytest.fixture
def own(world, tmp_path, monkeypatch):
    """A release of one's own to damage: `own(name)` builds it and adds it."""

    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))

    def build(name, frames=True):
        releases.build(name, tmp_path / name, frames)
        cache.add(name, tmp_path / name)
        return tmp_path / name

    return build


def one(table, clip):
    (row,) = table.filter(pl.col("clip") == clip).rows(named=True)
    return row


def errors(found):
    return [str(finding) for finding in found.findings if finding.error]


def notes(found):
    return [str(finding) for finding in found.findings if not finding.error]


@pytest.mark.parametrize("name", releases.CORPORA)
def test_a_release_is_read_whole_and_checked(world, name):
    facts = releases.expected(name)
    table = inputs.table(name)
    assert dict(table.schema) == clips.COLUMNS
    assert len(table) == facts["clips"] and table["subject"].n_unique() == facts["subjects"]
    assert dict(table.group_by("emotion").len().iter_rows()) == facts["emotions"]
    found = inspection.check(name)
    assert found.ok, (errors(found), [count for count in found.counts if count.missed])
    assert set(found.sha256) == set(facts["tasks"])


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_every_task_chooses_what_it_pins(world, name, task):
    count, subjects, counts = releases.expected(name)["tasks"][task]
    table = inputs.clips_of(task)
    assert (len(table), table["subject"].n_unique()) == (count, subjects)
    assert [int((table["label"] == label).sum()) for label in range(len(counts))] == counts


@pytest.mark.parametrize("name", releases.CORPORA)
def test_every_corpus_runs_leaving_one_subject_out(world, name):
    task, (count, subjects, _) = next(iter(releases.expected(name)["tasks"].items()))
    answer = commands.run("majority", task, workers=1)
    assert (answer.result.clips, answer.result.subjects, answer.result.folds_done) == (count, subjects, subjects)
    assert answer.result.task_sha256 == clips.sha256(inputs.clips_of(task))
    assert answer.result.question["faces_not_found"] < count


@pytest.mark.parametrize("name", [name for name in releases.CORPORA if catalog.dataset(name).mends])
def test_a_mend_that_matches_no_clip_is_an_error(world, name, tmp_path, monkeypatch):
    mend = catalog.dataset(name).mends[0]
    table = catalog.dataset(name).read_annotations(world / name).filter(pl.col("clip") != mend.clip)
    with pytest.raises(MerBenchError, match=f"{mend.clip}.*matches no clip.*no-mends"):
        clips.mend(table, catalog.dataset(name).mends)


def test_a_mend_that_matches_no_clip_fails_the_check_of_every_task(own):
    root = own("samm")
    rows = [row for row in releases.rows_of("samm/SAMM_Micro_FACS_Codes_v2.csv") if row[1] != "013_1_9"]
    releases.write_xlsx(root / "SAMM_Micro_FACS_Codes_v2.xlsx", rows)
    found = inspection.check("samm", "samm-5")
    assert any("matches no clip" in line and "samm/013/013_1_9" in line for line in errors(found))


# CASME II


def test_casme2_frames_subjects_and_action_units(world):
    table = inputs.table("casme2")
    row = one(table, "casme2/01/EP03_02")
    assert (row["onset"], row["apex"], row["offset"], row["fps"]) == (5, 8, 10, 200.0)
    assert (row["action_units"], row["sides"]) == ([4, 10], ["", "L"])
    assert row["frame_path"] == "Cropped/sub01/EP03_02/reg_img{frame}.jpg"
    assert row["source"] == "CASME2-coding-20140508.xlsx row 3"
    assert one(table, "casme2/10/EP11_01f")["facs"] == "?"


def test_casme2_names_that_look_alike_stay_apart(world):
    names = inputs.table("casme2")["clip"].to_list()
    assert {"casme2/10/EP11_01", "casme2/10/EP11_01f", "casme2/07/EP06_02_01"} <= set(names)
    assert {"casme2/05/EP02_07", "casme2/10/EP02_07", "casme2/04/EP12_02f", "casme2/12/EP12_02f"} <= set(names)


def test_casme2_blank_apex_is_mended_or_middle_and_told(world):
    assert one(inputs.table("casme2"), "casme2/04/EP12_01f")["apex"] == 279
    assert any("casme2/04/EP12_01f" in note and "mended to 279" in note for note in notes(inspection.check("casme2")))
    found = one(inputs.table("casme2:no-mends"), "casme2/04/EP12_01f")
    assert (found["apex"], found["apex_source"]) == (279, "middle")
    said = notes(inspection.check("casme2:no-mends"))
    assert any("EP12_01f (CASME2-coding-20140508.xlsx row 4): apex is blank; middle (279) taken" in n for n in said)
    assert any("apex is '/'" in n for n in said)


def test_casme2_of_2019_is_an_edition_with_the_same_names(world):
    table = inputs.table("casme2:2019")
    assert set(table["clip"]) < set(inputs.table("casme2")["clip"])
    assert one(table, "casme2/12/EP01_02")["apex_source"] == "middle"
    assert one(table, "casme2/12/EP01_02")["emotion"] == "disgust"
    assert one(table, "casme2/05/EP02_07")["objective_class"] == 2
    assert inspection.check("casme2:2019").sha256.keys() == {"casme2-5-mmnet", "casme2-3-mmnet"}


def test_casme2_with_one_sheet_counts_the_tasks_it_can(own):
    root = own("casme2")
    (root / "CASME2-coding-20190701.xlsx").unlink()
    found = inspection.check("casme2")
    assert found.ok and set(found.sha256) == {"casme2-5", "casme2-3", "casme2-3-strict"}
    assert any("no sheet of casme2:2019" in count.found for count in found.counts)


def test_casme2_raw_frames_are_read_where_there_are_no_crops(own):
    root = own("casme2")
    shutil.rmtree(root / "Cropped")
    assert one(inputs.table("casme2"), "casme2/01/EP02_01f")["frame_path"] == "CASME2-RAW/sub01/EP02_01f/img{frame}.jpg"


def test_annotated_frames_that_do_not_exist_are_told_with_clip_and_cure(own):
    root = own("casme2")
    (root / "Cropped/sub05/EP02_07/reg_img39.jpg").unlink()
    (said,) = errors(inspection.check("casme2", "casme2-5"))
    assert said.startswith("casme2/05/EP02_07 (CASME2-coding-20140508.xlsx row 6): frame 39 is missing")
    assert "add a Mend" in said
    with pytest.raises(MerBenchError, match="casme2/05/EP02_07: frame 39 is missing"):
        inputs.load("casme2-5", "flow@28")


def test_a_broken_clip_outside_of_the_task_is_not_in_the_way(own):
    root = own("casme2")
    (root / "Cropped/sub12/EP13_01/reg_img10.jpg").unlink()
    assert len(inputs.load("casme2-5", "flow@28").clips) == 11
    assert not inspection.check("casme2").ok and inspection.check("casme2", "casme2-5").ok


# SAMM


def test_samm_numbers_are_padded_and_the_header_is_found(world):
    table = inputs.table("samm")
    assert set(table["subject"]) == {"samm/006", "samm/013", "samm/014", "samm/028", "samm/032"}
    assert one(table, "samm/006/006_1_2")["source"] == "SAMM_Micro_FACS_Codes_v2.xlsx row 14"
    assert one(table, "samm/006/006_1_2")["frame_path"] == "006/006_1_2/006_{frame}.jpg"
    assert one(table, "samm/006/006_2_4")["frame_path"] == "006/006_2_4/006_{frame:04d}.jpg"
    assert one(table, "samm/014/014_3_3")["emotion"] == "other"


def test_samm_action_units_keep_intensity_side_and_choice(world):
    table = inputs.table("samm")
    row = one(table, "samm/006/006_2_4")
    assert (row["action_units"], row["sides"]) == ([14, 17, 24], ["R", "", ""])
    assert (row["intensities"], row["choices"]) == (["A", "A", "A"], [0, 0, 0])
    assert one(table, "samm/014/014_3_3")["sides"] == ["A/L"]
    row = one(table, "samm/028/028_4_1")
    assert (row["action_units"], row["choices"]) == ([6, 12, 15], [0, 0, 1])
    assert any("'ref' is no code" in note and "013_1_9" in note for note in notes(inspection.check("samm")))


def test_samm_as_released_names_every_row_out_of_order(world):
    said = errors(inspection.check("samm:no-mends"))
    assert [line.split(" ")[0] for line in said] == ["samm/013/013_1_9", "samm/028/028_4_1", "samm/032/032_3_1"]
    assert all("add a Mend" in line and "SAMM_Micro_FACS_Codes_v2.xlsx row" in line for line in said)
    with pytest.raises(MerBenchError, match=r"samm/013/013_1_9: onset 5733 <= apex 5736 <= offset 5139"):
        inputs.clips_of("samm-3:no-mends")
    assert len(inputs.clips_of("samm-3")) == 8


# SMIC


def test_smic_folders_are_its_sheet(world):
    table = inputs.table("smic")
    row = one(table, "smic/01/s01_ne_01")
    assert (row["onset"], row["offset"], row["emotion"]) == (101, 106, "negative")
    assert (row["apex"], row["apex_source"]) == (103, "middle")
    assert "smic/06/s06_ne_12" in table["clip"].to_list() and not table["clip"].str.contains("non").any()
    assert any("no apex is annotated; middle taken for all 6 clips" in note for note in notes(inspection.check("smic")))


def test_smic_flow_peak_is_another_question(world, monkeypatch):
    middle, peak = inputs.clips_of("smic-3"), inputs.clips_of("smic-3:flow-peak")
    assert set(middle["apex_source"]) == {"middle"} and set(peak["apex_source"]) == {"flow-peak"}
    for row in peak.iter_rows(named=True):
        assert row["onset"] < row["apex"] <= row["offset"]
        assert row["apex"] == apex.peak(world / "smic", row)
    monkeypatch.setattr(apex, "peak", None)
    assert inputs.clips_of("smic-3:flow-peak")["apex"].to_list() == peak["apex"].to_list()


def test_smic_cameras_are_corpora_of_their_own(world):
    assert inputs.table("smic_vis")["clip"][0].startswith("smic_vis/") and inputs.table("smic_nir")["fps"][0] == 25.0


def test_smic_names_that_contradict_their_folder_are_told(own):
    root = own("smic")
    home = root / "SMIC_all_cropped/HS/s1/micro/negative"
    (home / "s1_ne_01").rename(home / "s2_po_01")
    said = notes(inspection.check("smic"))
    assert any("subject 1, the clip 2" in note for note in said) and any("says negative" in note for note in said)


# CAS(ME)^3


def test_casme3_keys_need_the_onset_and_names_have_no_case(world):
    table = inputs.table("casme3")
    assert {"casme3/1/a_12", "casme3/1/a_31", "casme3/40/e_1812", "casme3/40/e_2327"} <= set(table["clip"])
    assert one(table, "casme3/3/J_3")["frame_path"] == "ME_A/spNO.3/j/color/{frame}.jpg"
    assert one(table, "casme3/216/e_0")["emotion"] == "others"
    assert one(table, "casme3/40/e_2327")["action_units"] == [4, 9]


def test_casme3_slips_are_mended_and_told_as_released(world):
    table = inputs.table("casme3")
    assert one(table, "casme3/149/d_112")["apex"] == 160 and one(table, "casme3/216/d_3647")["onset"] == 2647
    said = errors(inspection.check("casme3:no-mends"))
    broken = {line.split(" ")[0] for line in said}
    assert broken == {
        f"casme3/{n}" for n in ("149/d_112", "214/c_5", "216/d_3647", "216/e_0", "40/e_1812", "40/e_2327")
    }


def test_casme3_damaged_frames_are_named(own):
    root = own("casme3")
    frame = root / "ME_A/spNO.3/j/color/6.jpg"
    frame.write_bytes(frame.read_bytes()[:400])
    (said,) = errors(inspection.check("casme3", "casme3-7"))
    assert said.startswith("casme3/3/J_3 (") and "6.jpg is cut off; copy it again" in said


def test_casme3_clips_cut_out_are_another_layout(own):
    root = own("casme3")
    for folder, clip in (("spNO.1/a", "spNO.1_a_12"), ("spNO.3/j", "spNO.3_J_3")):
        (root / "Part_A_ME_clip/frame").mkdir(parents=True, exist_ok=True)
        (root / "ME_A" / folder / "color").rename(root / "Part_A_ME_clip/frame" / clip)
    shutil.rmtree(root / "ME_A")
    place = one(inputs.table("casme3"), "casme3/1/a_12")["frame_path"]
    assert place == "Part_A_ME_clip/frame/spNO.1_a_12/{frame}.jpg"


def test_casme3_first_sheet_is_an_edition(world):
    assert inputs.table("casme3:v1")["emotion"].to_list() == ["anger", "surprise"]


# MMEW, CASME, DFME


def test_mmew_reads_both_trees_and_names_bad_rows(own):
    root = own("mmew")
    other = root / "Micro_Expression/S01/happiness"
    other.mkdir(parents=True)
    (root / "Micro_Expression/happiness/S01-01-001").rename(other / "S01-01-001")
    for emotion in ("happiness", "disgust", "surprise", "others", "fear", "sadness", "anger"):
        shutil.rmtree(root / "Micro_Expression" / emotion)
    row = one(inputs.table("mmew"), "mmew/01/S01-01-001")
    assert row["frame_path"] == "Micro_Expression/S01/happiness/S01-01-001/{frame}.jpg"
    rows = releases.rows_of("mmew/MMEW_Micro_Exp.csv")
    rows[2][3:5] = [80.0, 54.0]
    releases.write_xlsx(root / "MMEW_Micro_Exp.xlsx", rows)
    said = errors(inspection.check("mmew"))
    assert any("mmew/01/S01-04-001" in line and "row 3" in line and "onset 2 <= apex 80" in line for line in said)


def test_casme_reads_the_first_apex_and_both_sections(world):
    table = inputs.table("casme")
    assert one(table, "casme/01/EP01_5")["apex"] == 76
    assert one(table, "casme/01/EP01_5")["frame_path"] == "Section A/sub01/EP01_5/reg_EP01_5-{frame:03d}.jpg"
    assert one(table, "casme/03/EP07_1")["frame_path"].startswith("Section B/")


def test_dfme_has_a_frame_rate_for_each_clip(world):
    table = inputs.table("dfme")
    assert sorted(set(table["fps"])) == [200.0, 300.0, 500.0]
    assert one(table, "dfme/001/sub001_01")["frame_path"] == "sub001_01/{frame:05d}.png"


# Composites


def test_megc2019_is_the_union_of_its_parts(world):
    whole = inputs.clips_of("megc2019-3")
    parts = pl.concat([inputs.clips_of(f"{name}-3") for name in ("casme2", "samm", "smic")])
    assert whole.select("clip", "label").rows() == parts.sort("clip").select("clip", "label").rows()
    assert not set(whole["clip"]) & {"casme2/12/EP12_02f", "casme2/12/EP13_01", "casme2/04/EP12_01f"}
    found = inspection.check("megc2019")
    assert found.ok and set(found.sha256) == {"megc2019-3", "megc2019-3-loco"}


def test_megc2019_itself_cannot_be_added(world):
    with pytest.raises(UsageError, match="add casme2, samm, smic instead"):
        cache.add("megc2019", world)
    with pytest.raises(MerBenchError, match="no release of its own"):
        cache.root("megc2019")


def test_the_real_pins_are_those_of_the_public_list():
    ours, public = catalog.task("megc2019-3"), catalog.task("megc2019-flow-3")
    assert (ours.sha256, ours.counts, ours.subjects) == (public.sha256, public.counts, public.subjects)
    parts = [catalog.task(f"{name}-3") for name in ("casme2", "samm", "smic")]
    assert sum(part.clips for part in parts) == 442 and sum(part.subjects for part in parts) == 68
    assert tuple(map(sum, zip(*(part.counts for part in parts), strict=True))) == ours.counts


def test_one_corpus_is_left_out_at_a_time(world):
    answer = commands.run("majority", "megc2019-3-loco", workers=1)
    rows = answer.chosen["last"].rows
    assert (answer.result.folds_done, answer.result.clips) == (3, len(inputs.clips_of("megc2019-3")))
    assert sorted(answer.result.rules["last"].per_corpus) == ["casme2", "samm", "smic"]
    assert len(rows) == answer.result.clips


def test_trained_on_one_task_and_tested_on_another(world):
    answer = commands.run("majority", "casme2-3>samm-3", workers=1)
    assert (answer.result.folds_done, answer.result.clips, answer.result.subjects) == (1, 8, 5)
    # the most frequent class of casme2-3 is said of every clip of samm-3
    assert set(answer.chosen["last"].rows["prediction"]) == {0}
    assert set(answer.chosen["last"].rows["subject"]) == set(inputs.clips_of("samm-3")["subject"])


def test_a_tested_composite_trains_on_none_of_its_corpora(world):
    """`casme3-3>megc2019-3`: only the majority of CAS(ME)^3 is said, whatever the other corpora hold."""
    answer = commands.run("majority", "casme3-3>megc2019-3", workers=1)
    assert (answer.result.folds_done, answer.result.clips) == (3, len(inputs.clips_of("megc2019-3")))
    shares = np.bincount(inputs.clips_of("casme3-3")["label"], minlength=3) / len(inputs.clips_of("casme3-3"))
    said = predictions.probabilities(answer.chosen["last"].rows)
    np.testing.assert_allclose(said, np.tile(shares, (len(said), 1)), atol=1e-3)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("casme2-3>casme2-3-strict", "share casme2"),
        ("smic-vis-3>smic-3", "same people, those of smic"),
        ("smic-nir-3>smic-vis-3", "same people, those of smic"),
        ("smic-nir-3>megc2019-3", "same people, those of smic"),
        ("megc2019-flow-3>casme2-3", "same people, those of casme2"),
        ("casme2-5>samm-3", "different classes"),
        ("casme2-3:2018", "known: 2019, no-mends"),
        ("casme2-3>nothing", "unknown task 'nothing'"),
    ],
)
def test_a_question_that_cannot_be_asked(task, said):
    with pytest.raises(UsageError, match=said):
        catalog.task(task)


def test_the_committed_rows_are_few_and_invented():
    for name in releases.CORPORA:
        for sheet in (releases.SHEETS / name).glob("*.csv"):
            with sheet.open(newline="", encoding="utf-8") as file:
                assert len(list(csv.reader(file))) < 30
