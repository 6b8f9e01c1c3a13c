"""Write the reference codes of the encoder that ships with hashae, from ``photos-train.zip`` and nothing else.

Collections too small to tell how near different pictures come borrow these codes when they are calibrated. They belong
to one encoder, so they are made again whenever the encoder is: the fingerprint in the file says for which they are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data import ROOT, unpacked

from hashae.encoder import Encoder
from hashae.reference import REFERENCE_CODES, SUFFIX, make_reference

ENCODER = ROOT / "hashae" / "pretrained" / "photo.onnx"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, default=ENCODER, help="default: the one that ships")
    parser.add_argument("--count", type=int, default=REFERENCE_CODES, help="codes to keep (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("-o", "--output", type=Path, help=f"default: beside the encoder, with the ending {SUFFIX}")
    options = parser.parse_args()
    encoder = Encoder.load(options.encoder)
    target = options.output or options.encoder.with_suffix(SUFFIX)
    reference = make_reference(encoder, unpacked("photos-train.zip"), count=options.count, seed=options.seed)
    reference.save(target)
    print(
        f"{len(reference.codes)} codes of {encoder.bits} bits by encoder {encoder.fingerprint[:12]}, "
        f"{target.stat().st_size / 1e3:.0f} kB -> {target}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
