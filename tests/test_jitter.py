"""How far the key frames of a clip may move in time, for views with both and with the apex alone."""

import numpy as np
import polars as pl

from mer_bench.pixels import inputs
from mer_bench.training import fold

CLIPS = pl.DataFrame({"onset": [10, 10, 10, 0], "apex": [50, 15, 10, 400], "offset": [70, 95, 10, 800]})


def reach(jitter, after, **frames):
    arrays = {name: np.zeros((4, count, 4, 4, 3), np.uint8) for name, count in frames.items()}
    return fold._reach(inputs.Inputs(CLIPS, arrays, ""), jitter, after).tolist()


def test_a_share_of_a_quarter_of_the_way_and_no_further_than_the_frames_at_hand():
    pair = reach(0.2, True, onset=5, apex=9)
    # .2 of a quarter of 40, 5, 0 and 400 frames; after the apex of 20, 80, 0 and 400
    assert pair == [[2, 2, 1], [0, 0, 4], [0, 0, 0], [4, 4, 4]]
    assert reach(0.2, False, onset=5, apex=9) == [[r[0], r[1], 0] for r in pair]


def test_an_apex_alone_moves_as_in_the_pair():
    assert reach(0.2, True, apex=9) == [[0, 2, 1], [0, 0, 4], [0, 0, 0], [0, 4, 4]]
    assert reach(0.2, True, apex=1) == [[0, 0, 0]] * 4
