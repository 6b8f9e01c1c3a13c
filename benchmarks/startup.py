"""How long a person waits for an answer, process start included.

Measures ``hashae --help`` and ``hashae query PICTURE -k 10`` on a collection of 60,000 pictures (CIFAR-10 as JPEG
files, re-encoded: not the original pixels), with the bare start of Python beside them. Each is a new process; medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from answers import print_table
from data import cache_folder, encoder_file, hashae, unpacked
from measure import alternating, circumstances, median_and_range


def run(command: list[str]) -> None:
    """Run a command without showing its output; a failure stops the benchmark with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def collection_of_60000(encoder: Path | None) -> Path:
    """Return a collection of CIFAR-10, indexed once and kept in the cache."""
    chosen = encoder_file(encoder)
    about = chosen.stat()
    # Codes of another encoder are another collection.
    target = cache_folder() / f"cifar10-{chosen.stem}-{about.st_size}-{int(about.st_mtime)}.db"
    print(f"indexing 60,000 pictures into {target}; it is kept, and a second run finds nothing new", file=sys.stderr)
    subprocess.run(hashae("index", unpacked("cifar10.zip"), "--db", target, "--encoder", chosen), check=True)
    return target


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", type=Path, help="collection to query; default: one of CIFAR-10, made and kept")
    parser.add_argument("--encoder", type=Path, help="encoder of that collection; default: the shipped one")
    parser.add_argument("--picture", type=Path, help="picture to query; default: one of CIFAR-10")
    parser.add_argument("--rounds", type=int, default=11, help="process starts of each command (default: 11)")
    parser.add_argument("--help-only", action="store_true", help="measure hashae --help alone; needs no data")
    options = parser.parse_args()

    works = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "hashae --help": hashae("--help"),
    }
    if not options.help_only:
        database = options.db or collection_of_60000(options.encoder)
        picture = options.picture or unpacked("cifar10.zip") / "test" / "airplane" / "0000.jpg"
        works["hashae query -k 10"] = hashae("query", picture, "-k", "10", "--db", database)
        works["hashae query --exact"] = hashae("query", picture, "--exact", "--db", database)
    for command in works.values():
        run(command)  # once for the file system's cache

    times = alternating({name: lambda command=command: run(command) for name, command in works.items()}, options.rounds)
    print(circumstances("onnxruntime", "faiss-cpu", "sqlalchemy"))
    print(f"seconds for one process, {options.rounds} rounds, alternating\n")
    print_table([["command", "median", "range"], *([name, *median_and_range(times[name])] for name in works)])


if __name__ == "__main__":
    main()
