"""SMIC-HS: 164 clips of 16 subjects at 100 frames a second, 640x480 (Li et al., FG 2013), three classes.

The release has no apex, so the rule that fills it in is part of the question: `middle` between onset and offset, as MEB
takes it, or `smic:flow-peak`. Apexes that others spotted differ from both and from each other. Layout in `_smic.py`.
SMIC-HS-E, the long version with 157 rows, is another corpus and is not read.

Task `smic-3` is MEGC 2019's part (70/51/43 clips); its list is public and pinned. Some published composites hold fewer
SMIC clips (CapsuleNet: seven fewer).
"""

from mer_bench.datasets import _smic

DATASET = _smic.corpus(
    "smic", "HS", "SMIC-HS", fps=100.0, clips=164, subjects=16, counts=(70, 51, 43),
    sha256="69333c421a521bd5dd590e366387973c34aa6c051b9aa55fe2009c59aaaf22c4",
)  # fmt: skip
