"""How long `mer-bench --help` takes, and where the time goes.

    python tests/benchmarks/startup.py

Wall-clock seconds of a fresh process, taken in turn with a bare `python -c pass`, whose time nobody can save.
"""

from __future__ import annotations

import subprocess
import sys

import measuring

WANTED = 0.3
HELP = "import sys; sys.argv = ['mer-bench', '--help']; from mer_bench.door.cli import main; main()"
HEAVY = ("torch", "ray", "mlflow", "optuna", "cv2", "polars", "sklearn", "numpy", "scipy")


def ask(code: str, *options: str) -> str:
    """Run code in a fresh process; what it wrote to stderr."""
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr


def dearest(count: int) -> list[tuple[str, float]]:
    """The modules whose own import takes longest, ms."""
    found = []
    for line in ask(HELP, "-X", "importtime").splitlines():
        own, _, name = line.removeprefix("import time:").split("|")[:3] if line.count("|") == 2 else ("", "", "")
        if own.strip().isdigit():
            found.append((name.strip(), int(own) / 1000))
    return sorted(found, key=lambda pair: -pair[1])[:count]


def main() -> None:
    """Measure and print."""
    taken = measuring.paired({"help": lambda: ask(HELP), "python": lambda: ask("pass")}, 15, warm=2)
    loaded = [name for name in HEAVY if f" {name}\n" in ask(HELP, "-X", "importtime")]
    seconds, bare = measuring.median(taken["help"]), measuring.median(taken["python"])
    words = __doc__.split("\n\n")[2].strip() + f" Heavy libraries imported: {', '.join(loaded) or 'none'}."
    rows: list[tuple[object, ...]] = [
        ("`mer-bench --help`", seconds, measuring.verdict(seconds, WANTED, most=True)),
        ("`python -c pass`", bare, ""),
    ]
    rows += [(f"importing `{name}` alone", ms / 1000, "") for name, ms in dearest(5)]
    print(measuring.section("Start-up", words, ("what", "seconds", "wanted"), rows))


if __name__ == "__main__":
    main()
