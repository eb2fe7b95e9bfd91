"""Does `torch.compile` pay? A compiled training step against the eager one, and what compiling costs.

    python tests/benchmarks/compiled.py [--device cuda]

MMNet in bf16, channels last. *Pays after* is the number of clip-updates whose saved time equals the time of
compiling. A LOSO run of the published recipe on CASME II has 455,000; a fold of a search on synth-3 about 1,000, and
every trial is another network.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import measuring
import torch
from torch.nn import functional

from mer_bench import catalog
from mer_bench.training import fold, trainer

BF16 = trainer.Precision(bf16=True, channels_last=True)


def row(size: int, width: float, clips: int, repeats: int, device: str) -> tuple[object, ...]:
    """One network: how much faster, seconds of compiling, when it pays."""
    model: Any = catalog.baseline("mmnet").model
    batch = {key: BF16.lay(torch.randn(clips, 3, size, size, device=device)) for key in ("onset", "apex")}
    labels = torch.arange(clips, device=device) % 5

    def step(network: Any, steps: torch.optim.Optimizer) -> None:
        with BF16.autocast(device):
            said = network(**batch)
        loss = functional.cross_entropy(said.float(), labels)
        steps.zero_grad()
        loss.backward()
        steps.step()
        loss.item()

    ways = {}
    for name in ("eager", "compiled"):
        torch.manual_seed(0)
        network = BF16.place(model(5, image_size=size, width=width).to(device))
        steps = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)
        chosen = torch.compile(network) if name == "compiled" else network
        began = time.perf_counter()
        step(chosen, steps)
        first = time.perf_counter() - began
        ways[name] = lambda chosen=chosen, steps=steps: step(chosen, steps)
    taken = measuring.paired(ways, repeats)
    eager, quick = (measuring.median(taken[way]) for way in ways)
    cost = max(0.0, first - quick)
    saved = (eager - quick) / clips
    pays = f"{cost / saved:,.0f}" if saved > 0 else "never"
    faster = measuring.ratio(taken, "eager", "compiled")
    return (
        f"{size} px, width {width:g}, batch {clips}",
        faster,
        cost,
        1000 * eager / clips,
        1000 * quick / clips,
        pays,
    )


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--device", default="cpu")
    given = asked.parse_args()
    cases = ((224, 1.0, 16, 5), (48, 0.25, 16, 15))
    with fold.one_thread():
        rows = [row(*case, given.device) for case in cases]
    head = ("network", "eager / compiled", "compiling, s", "eager, ms a clip", "compiled, ms a clip", "pays after")
    print(measuring.section("Compiling", __doc__.split("\n\n")[2], head, rows))


if __name__ == "__main__":
    main()
