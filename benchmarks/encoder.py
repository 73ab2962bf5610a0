"""How fast the encoder is: beside transformers' VideoPrism, and with windows that overlap.

    python benchmarks/encoder.py [--quick] [--json] [--only hops|engines] [--precision P]

Parameters of VideoPrism Base are seeded by their names (`tests/backbones/seeded.py`), so the
features mean nothing; the arithmetic is that of the released model. Both sides of a ratio alternate
in one run; medians and ranges of the rounds.

- ``speedup_hop1``, ``speedup_hop4``, ``speedup_hop8``: against encoding every window whole with the
  same engine (see encoder_hops.py).
- ``speedup_vs_transformers_bf16``, ``speedup_vs_transformers_compiled``, ``max_abs_error_float32``:
  see encoder_engines.py. Left out without ``--reference-python``.

``--quick`` takes one round where the full run takes seven.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "backbones"))


def seeded_backbone(name: str, precision: str) -> Any:
    """A backbone of a released shape with seeded parameters; ``base`` or ``large``."""
    from seeded import CONFIGS, seeded_parameters  # pyright: ignore[reportMissingImports]

    from ethoprism.backbones.videoprism import build_backbone

    return build_backbone(
        f"seeded-{name}", CONFIGS[name], seeded_parameters, trained=False, precision=precision
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--only", choices=("hops", "engines"), help="one part")
    parser.add_argument("--config", choices=("base", "large"), default="base", help="for the hops")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--reference-python", help="a Python with torch and transformers")
    options = parser.parse_args()
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    if options.only != "engines":
        from encoder_hops import speedups

        backbone = seeded_backbone(options.config, options.precision)
        print(f"{backbone.card.name} (seeded, untrained), {options.precision}, JAX")
        figures |= speedups(backbone, 1 if options.quick else 7)
    if options.only != "hops" and options.reference_python:
        from encoder_engines import against_transformers

        figures |= against_transformers(options.reference_python, 1 if options.quick else 5)
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
