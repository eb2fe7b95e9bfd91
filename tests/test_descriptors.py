"""prior, flow_svm, lbp_top and bi_woof against slow implementations that share nothing with them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from mer_bench import catalog
from mer_bench.contracts import UsageError

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 0])


def model(name: str, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return catalog.baseline(name).model(num_classes=3, **options)


def module(name: str) -> Any:
    catalog.baseline(name)
    return sys.modules[f"mer_bench.plugins.baseline.{name}"]


def flows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)


def test_prior_says_every_class_as_often_as_training_does() -> None:
    chance = model("prior")
    chance.fit({"flow": flows(8)}, LABELS)
    said = chance.predict_proba({"flow": flows(2000, seed=1)})
    assert set(np.unique(said)) == {0.0, 1.0}
    np.testing.assert_allclose(said.mean(0), [0.5, 0.25, 0.25], atol=0.04)


def test_prior_is_named_by_seed_and_clip() -> None:
    clips = {"flow": flows(300)}
    first, again, other = (model("prior", seed) for seed in (1, 1, 2))
    for chance in (first, again, other):
        chance.fit(clips, LABELS)
    assert np.array_equal(first.predict_proba(clips), again.predict_proba(clips))
    agreed = (first.predict_proba(clips) * other.predict_proba(clips)).sum(1).mean()
    assert agreed == pytest.approx(0.5**2 + 2 * 0.25**2, abs=0.1), "independent draws agree by chance alone"
    backwards = first.predict_proba({"flow": clips["flow"][::-1]})
    assert np.array_equal(backwards[::-1], first.predict_proba(clips))


def test_flow_svm_is_scikit_learns_with_the_fixed_penalty() -> None:
    svm = model("flow_svm")
    svm.fit({"flow": flows(8)}, LABELS)
    oracle = SVC(kernel="linear", C=28).fit(flows(8).reshape(8, -1) / 255, LABELS)
    others = flows(20, seed=1)
    assert np.array_equal(svm.predict_proba({"flow": others}).argmax(1), oracle.predict(others.reshape(20, -1) / 255))


def slow_lbp_top(clip: np.ndarray, radii: tuple[int, int, int], blocks: int) -> np.ndarray:
    """Pixel by pixel, from the definition: neighbours on a circle of 4 in each plane."""
    (frames, height, width), (rx, ry, rt) = clip.shape, radii
    inside = [range(r, side - r) for r, side in zip((rt, ry, rx), clip.shape, strict=True)]
    found = np.zeros((blocks, blocks, 3, 16))
    for t in inside[0]:
        for y in inside[1]:
            for x in inside[2]:
                row, column = ((at - r) * blocks // (side - 2 * r) for at, r, side in ((y, ry, height), (x, rx, width)))
                for plane in range(3):
                    code = 0
                    for p in range(4):
                        cosine, sine = round(np.cos(np.pi * p / 2)), round(np.sin(np.pi * p / 2))
                        if plane == 0:
                            neighbour = clip[t, y - ry * sine, x + rx * cosine]
                        elif plane == 1:
                            neighbour = clip[t - rt * sine, y, x + rx * cosine]
                        else:
                            neighbour = clip[t - rt * sine, y - ry * cosine, x]
                        code += 2**p * int(int(neighbour) >= int(clip[t, y, x]))
                    found[row, column, plane, code] += 1
    assert frames > 2 * rt
    return (found / found.sum(3, keepdims=True)).ravel()


@pytest.mark.parametrize(
    ("shape", "radii", "blocks"),
    [
        ((10, 22, 22), (1, 1, 4), 5),
        ((10, 17, 19), (2, 1, 3), 3),
        ((5, 9, 8), (1, 2, 2), 5),
        ((3, 12, 12), (1, 1, 1), 1),
    ],
)
@pytest.mark.parametrize("levels", [4, 256])
def test_lbp_top_equals_a_slow_count(shape: Any, radii: Any, blocks: int, levels: int) -> None:
    """With few grey levels many neighbours are equal to their centre."""
    clip = np.random.default_rng(0).integers(0, levels, shape, dtype=np.uint8)
    found = module("lbp_top").histograms(clip, radii, blocks)
    assert found.dtype == np.float32
    assert np.array_equal(found, slow_lbp_top(clip, radii, blocks).astype(np.float32))


def test_lbp_top_has_the_guidelines_size_and_knows_brightening() -> None:
    clip = np.tile(np.arange(10, dtype=np.uint8)[:, None, None] * 20, (1, 30, 30))
    found = model("lbp_top").describe({"clip": clip}).reshape(25, 3, 16)
    # in XY all neighbours are as bright; in time only the later one is (bit 3), and the two in space (bits 0 and 2)
    assert (found[:, 0, 15] == 1).all() and (found[:, 1:, 0b1101] == 1).all()


@pytest.mark.parametrize(
    "options", [{"radii": (1, 1)}, {"radii": (1, 0, 4)}, {"blocks": 0}, {"radii": (1, 1, 5)}, {"blocks": 40}]
)
def test_lbp_top_says_what_cannot_be_coded(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="lbp_top"):
        model("lbp_top", **options).describe({"clip": np.zeros((10, 30, 30), np.uint8)})


def test_strain_of_bi_woof_is_that_of_finite_differences() -> None:
    """Central differences, each smoothed across by 1 2 1, which a slow loop takes one by one."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 12, 15)).astype(np.float32)
    found = module("bi_woof").strain(u, v)
    for y in range(12):
        for x in range(15):

            def at(field: np.ndarray, dy: int, dx: int, y: int = y, x: int = x) -> float:
                return float(field[min(max(y + dy, 0), 11), min(max(x + dx, 0), 14)])

            def across(field: np.ndarray) -> float:
                return sum(w * (at(field, k, 1) - at(field, k, -1)) / 2 for k, w in ((-1, 0.25), (0, 0.5), (1, 0.25)))

            def down(field: np.ndarray) -> float:
                return sum(w * (at(field, 1, k) - at(field, -1, k)) / 2 for k, w in ((-1, 0.25), (0, 0.5), (1, 0.25)))

            shear = down(u) + across(v)
            wanted = np.sqrt(across(u) ** 2 + down(v) ** 2 + 0.5 * shear**2)
            assert found[y, x] == pytest.approx(wanted, abs=1e-5)


def test_strain_of_bi_woof_is_exact_on_linear_fields_and_near_on_smooth_ones() -> None:
    strain = module("bi_woof").strain
    y, x = np.mgrid[:40, :40].astype(np.float32)
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(strain(0.3 * x, 0.4 * y)[inner], 0.5, rtol=1e-4)
    np.testing.assert_allclose(strain(-0.1 * y, 0.1 * x)[inner], 0, atol=1e-4)
    u, v = np.sin(x / 8), np.cos(y / 9)
    wanted = np.hypot(np.cos(x / 8) / 8, -np.sin(y / 9) / 9)
    np.testing.assert_allclose(strain(u, v)[inner], wanted[inner], atol=2e-3)


@pytest.mark.parametrize(("blocks", "bins"), [(5, 8), (3, 6), (1, 1)])
def test_bi_woof_equals_a_slow_count(blocks: int, bins: int) -> None:
    u, v = np.random.default_rng(1).normal(size=(2, 33, 27)).astype(np.float32)
    v[:10] = 0  # orientations 0 and pi
    strain = module("bi_woof").strain(u, v)
    found = []
    for row in range(blocks):
        for column in range(blocks):
            rows = [y for y in range(33) if y * blocks // 33 == row]
            columns = [x for x in range(27) if x * blocks // 27 == column]
            part = np.ix_(rows, columns)
            turns = np.arctan2(v[part], u[part], dtype=float)
            votes, _ = np.histogram(turns, bins, (-np.pi, np.pi), weights=np.hypot(u[part], v[part]))
            found.append(votes / votes.sum() * strain[part].sum())
    wanted = np.concatenate(found)
    answer = module("bi_woof").histograms(u, v, blocks, bins)
    np.testing.assert_allclose(answer, wanted / np.linalg.norm(wanted), atol=1e-5)


def test_bi_woof_knows_direction_and_stands_stillness() -> None:
    woof = model("bi_woof")
    y, x = np.mgrid[:100, :100].astype(np.float32)
    right = woof.describe({"uv": np.stack([1 + x / 100, 0.01 + 0 * y], 2)}).reshape(25, 8)
    assert (right.argmax(1) == 4).all() and np.linalg.norm(right) == pytest.approx(1, abs=1e-5)
    assert not woof.describe({"uv": np.zeros((100, 100, 2), np.float32)}).any()
    with pytest.raises(UsageError, match="bi_woof"):
        model("bi_woof", bins=0)
