from dataclasses import dataclass
from pathlib import Path
@dataclass(frozen=True)
class WeightsFile:
    path: Path
    note: str
def find_weights(name, weights): return WeightsFile(Path(weights),'')
