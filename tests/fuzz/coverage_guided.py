"""Coverage-guided fuzzing of one target with atheris, where atheris is installed.

``python tests/fuzz/coverage_guided.py TARGET CORPUS_FOLDER -max_total_time=60``. Only targets that
are one file and are read by Python code gain from it: "frames-csv", "bouts-csv", "frame times",
"fmf", "ufmf", "norpix".
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["ethoprism"]):
    for _name in ("fmf", "norpix", "ufmf"):
        import_module(f"ethoprism.readers.{_name}")
    from targets import TARGETS

    import ethoprism.exchange.bouts_csv
    import ethoprism.exchange.frames_csv
    import ethoprism.timing  # noqa: F401
    from ethoprism.errors import EthoPrismError


def main() -> None:
    """Make the corpus from the target's seeds, and fuzz until libFuzzer's options say stop."""
    target, corpus = sys.argv[1], Path(sys.argv[2])
    names = set()
    for i, files in enumerate(TARGETS[target].seeds()):
        for name, data in files.items():
            names.add(Path(name).suffix)
            (corpus / f"seed{i}").write_bytes(data)
    folder = Path(tempfile.mkdtemp(prefix="atheris-"))
    case = folder / f"r{min(names)}"

    def one(data: bytes) -> None:
        case.write_bytes(data)
        with suppress(EthoPrismError):
            TARGETS[target].run(folder)

    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
