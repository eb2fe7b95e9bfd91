"""Do the drawn faces stay true to life? A linear model that saw them alone is asked about real clips.

    MER_BENCH_DATA=FOLDER python tests/benchmarks/transfer.py

`ridge_flow` is trained on all of `synth-large-3` (drawn on first use, two minutes) and tested once on the 442 real
clips of `megc2019-flow-3`; nothing is chosen on their labels. Also: the share of drawn faces that dlib finds.
"""

import numpy as np

from mer_bench import catalog, metrics
from mer_bench.pixels import inputs

VIEW = "flow@28"


def main() -> None:
    """Print the figures."""
    large, real = inputs.load("synth-large-3", VIEW), inputs.load("megc2019-flow-3", VIEW)
    model = catalog.baseline("ridge_flow").model(num_classes=3)
    model.fit({"flow": np.asarray(large.arrays["flow"])}, large.clips["label"].to_numpy())
    said = model.predict_proba({"flow": np.asarray(real.arrays["flow"])}).argmax(1)
    labels = real.clips["label"].to_numpy()
    print("ridge_flow trained on synth-large-3, tested on megc2019-flow-3")
    for corpus in ("", *sorted(set(real.clips["corpus"]))):
        rows = (real.clips["corpus"] == corpus).to_numpy() if corpus else np.ones(len(labels), bool)
        counts = metrics.confusion(labels[rows], said[rows], 3)
        print(f"  {corpus or 'all':8} UF1 {metrics.uf1(counts):.3f}  UAR {metrics.uar(counts):.3f}  clips {rows.sum()}")
    majority = metrics.uf1(metrics.confusion(labels, np.zeros_like(labels), 3))
    print(f"  majority UF1 {majority:.3f}")
    for task in ("synth-3", "synth-null-3", "synth-large-3"):
        shown = inputs.load(task, VIEW)
        found = len(shown.clips) - len(shown.unfound)
        print(f"dlib finds {found} of {len(shown.clips)} faces of {task} ({found / len(shown.clips):.1%})")


if __name__ == "__main__":
    main()
