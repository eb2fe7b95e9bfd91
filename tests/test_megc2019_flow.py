import os
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from mer_bench import catalog, clips
from mer_bench.contracts import MerBenchError

NAME, TASK = "megc2019_flow", "megc2019-flow-3"
SHEET = """dataset,sub,filename_o,label,apex,imagename,sub_filename
casme2,sub05,EP12_03f,2,,sub05_EP12_03f.jpg,
smic,s06,s06_sur_02,2,,s06_s6_sur_02.jpg,
samm,006,006_1_2,0,,006_006_1_2.jpg,
"""
REAL = [
    Path(p) / NAME for p in os.environ.get("MER_BENCH_DATA", "").split(os.pathsep) if p and (Path(p) / NAME).is_dir()
]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "combined_3_class2_for_optical_flow.csv").write_text(SHEET)
    folder = tmp_path / "STSNet_whole_norm_u_v_os"
    folder.mkdir()
    for name in ("sub05_EP12_03f .png", "s06_s06_sur_02 .png", "006_006_1_2 .png"):
        cv2.imwrite(str(folder / name), np.full((28, 28, 3), (30, 20, 10), np.uint8))
    return tmp_path


def test_the_sheet_becomes_table_1(release: Path) -> None:
    table = catalog.dataset(NAME).read_annotations(release)
    assert dict(table.schema) == clips.COLUMNS
    assert table["clip"].to_list() == ["casme2/05/EP12_03f", "samm/006/006_1_2", "smic/06/s06_sur_02"]
    assert table["subject"].to_list() == ["casme2/05", "samm/006", "smic/06"]
    assert table["corpus"].to_list() == ["casme2", "samm", "smic"]
    assert table["emotion"].to_list() == ["surprise", "negative", "surprise"]
    assert table.select("onset", "apex", "offset", "frame_path").null_count().row(0) == (3, 3, 3, 3)
    assert not clips.problems(table)


def test_pictures_are_read_as_u_v_strain(release: Path) -> None:
    dataset = catalog.dataset(NAME)
    assert dataset.read_flow is not None
    for row in dataset.read_annotations(release).iter_rows(named=True):
        picture = dataset.read_flow(release, row)
        # Stored red, green, blue = u, v, strain; OpenCV wrote blue 30, green 20, red 10.
        assert picture.shape == (28, 28, 3) and (picture == (10, 20, 30)).all()


def test_what_is_missing_or_strange_is_told(release: Path, tmp_path: Path) -> None:
    dataset = catalog.dataset(NAME)
    assert dataset.read_flow is not None
    with pytest.raises(MerBenchError, match=r"casme2/05/EP99.*sub05_EP99 \.png"):
        dataset.read_flow(release, {"clip": "casme2/05/EP99"})
    sheet = release / "combined_3_class2_for_optical_flow.csv"
    sheet.write_text(SHEET.replace("sub05,EP12_03f,2", "sub05,EP12_03f,7"))
    with pytest.raises(MerBenchError, match=r"casme2/05/EP12_03f.*'7'"):
        dataset.read_annotations(release)
    sheet.unlink()
    with pytest.raises(MerBenchError, match="is missing"):
        dataset.read_annotations(release)


@pytest.mark.skipif(not REAL, reason="MER_BENCH_DATA holds no megc2019_flow")
def test_the_real_release_is_the_pinned_one() -> None:
    dataset, task = catalog.dataset(NAME), catalog.task(TASK)
    chosen = clips.select(dataset.read_annotations(REAL[0]), task)
    clips.check(chosen, TASK, task)
    for name in ("casme2", "samm", "smic"):
        # the pins of the parts, and their counts, are those of the public list
        part, pinned = chosen.filter(pl.col("corpus") == name), catalog.task(f"{name}-3")
        assert clips.sha256(part) == pinned.sha256 and part["subject"].n_unique() == pinned.subjects
        assert tuple((part["label"] == label).sum() for label in range(3)) == pinned.counts
    parts = chosen.group_by("corpus").len().sort("corpus").rows()
    assert parts == [("casme2", 145), ("samm", 133), ("smic", 164)]
    assert dataset.read_flow is not None
    pictures = np.stack([dataset.read_flow(REAL[0], row) for row in chosen.iter_rows(named=True)])
    assert pictures.shape == (442, 28, 28, 3)
    assert (pictures.max((1, 2)) >= 254).mean() > 0.99
