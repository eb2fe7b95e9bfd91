"""MEGC 2019 composite: 442 clips of 68 subjects from CASME II (145), SAMM (133) and SMIC-HS (164), three classes.

It has no release of its own: add `casme2`, `samm` and `smic`. Classes after the challenge's guideline (See et al., FG
2019): negative are repression and disgust in CASME II, and anger, contempt, disgust, fear and sadness in SAMM; others
are left out, and so are sadness, fear and two disgust clips of CASME II. The list is public, and pinned; it is that of
`megc2019-flow-3`, whose pictures are public too.

    megc2019-3        68 folds, one a subject ("composite database evaluation")
    megc2019-3-loco   3 folds, one a corpus ("holdout database evaluation" with both others to train on)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from mer_bench.contracts import Dataset, Task, UsageError

CLASSES = ("negative", "positive", "surprise")
CORPORA = ("casme2", "samm", "smic")
NEGATIVE = ("casme2/disgust", "casme2/repression", *(
    f"samm/{emotion}" for emotion in ("anger", "contempt", "disgust", "fear", "sadness")
), "smic/negative")  # fmt: skip
POSITIVE = ("casme2/happiness", "samm/happiness", "smic/positive")
SURPRISE = tuple(f"{corpus}/surprise" for corpus in CORPORA)


def read_annotations(root: Path) -> NoReturn:
    """A composite has no sheet.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"megc2019 has no release of its own; add {', '.join(CORPORA)} instead")


TASK = Task(
    corpora=CORPORA,
    classes=CLASSES,
    class_map={
        **dict.fromkeys(NEGATIVE, "negative"),
        **dict.fromkeys(POSITIVE, "positive"),
        **dict.fromkeys(SURPRISE, "surprise"),
    },
    clips=442,
    subjects=68,
    counts=(250, 109, 83),
    drop={
        "casme2/04/EP12_01f": "left out by MEGC 2019; its apex is blank in the 2014 sheet",
        "casme2/05/EP09_05f": "left out by MEGC 2019",
    },
    sha256="f16c851f00cae6801355fca23f6d13b77543332c02da378f33e9a2ef18e4679f",
)

DATASET = Dataset(
    title="MEGC 2019 composite",
    read_annotations=read_annotations,
    licence="that of CASME II, SAMM and SMIC, each under its own agreement",
    url="https://facial-micro-expressiongc.github.io/MEGC2019",
    made_of=CORPORA,
    tasks={"megc2019-3": TASK, "megc2019-3-loco": replace(TASK, fold="corpus")},
)
