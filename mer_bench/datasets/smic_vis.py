"""SMIC-VIS: 71 clips of 8 subjects at 25 frames a second, visible light (Li et al., FG 2013). Layout in `_smic.py`.

The same movements as SMIC-HS and SMIC-NIR, seen by another camera: never train on one and test on another.
"""

from mer_bench.datasets import _smic

DATASET = _smic.corpus("smic_vis", "VIS", "SMIC-VIS", fps=25.0, clips=71, subjects=8, counts=(28, 24, 19))
