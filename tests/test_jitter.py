"""How far the key frames of a clip may move in time, for views with both and with the apex alone."""

import numpy as np
import polars as pl
import pytest

from mer_bench import fold, inputs

CLIPS = pl.DataFrame(
    {"onset": [10, 10, 10, 0], "apex": [50, 15, 10, 400], "offset": [70, 95, 10, 800], "label": [0, 1, 2, 0]}
)


@pytest.fixture
def reach(monkeypatch):
    def of(view, jitter, after, **frames):
        arrays = {name: np.zeros((4, count, 4, 4, 3), np.uint8) for name, count in frames.items()}
        monkeypatch.setattr(inputs, "load", lambda task, view: inputs.Inputs(CLIPS, arrays, ""))
        fold.forget()
        return fold.on_device("task", view, jitter, after, "cpu").reach.tolist()

    yield of
    fold.forget()


def test_a_share_of_a_quarter_of_the_way_and_no_further_than_the_frames_at_hand(reach):
    pair = reach("onset_apex@4+near", 0.2, True, onset=5, apex=9)
    # .2 of a quarter of 40, 5, 0 and 400 frames; after the apex of 20, 80, 0 and 400
    assert pair == [[2, 2, 1], [0, 0, 4], [0, 0, 0], [4, 4, 4]]
    assert reach("onset_apex@4+near", 0.2, False, onset=5, apex=9) == [[r[0], r[1], 0] for r in pair]


def test_an_apex_alone_moves_as_in_the_pair(reach):
    assert reach("apex@4+near", 0.2, True, apex=9) == [[0, 2, 1], [0, 0, 4], [0, 0, 0], [0, 4, 4]]
    assert reach("apex@4", 0.2, True, apex=1) == [[0, 0, 0]] * 4
    assert reach("apex@4+near", 0.0, True, apex=9) == [[0, 0, 0]] * 4
