"""TokenKey: all that the numbers in a token store depend on, besides the recording itself."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from ethoprism.crops import WHOLE
from ethoprism.errors import InputError, ProjectError

FORMAT_VERSION = 1
LARGEST = 2**20
"""Of any number in a key or in a store's attributes that is read from a file."""


@dataclass(frozen=True)
class TokenKey:
    """Everything that the numbers in a token store depend on, besides the recording itself.

    ``crop`` says how a frame is cut, in words (`ethoprism.crops.Crop.text`). Where it is cut
    differs from recording to recording, and is known by the store's own ``place``. So a probe fits
    every recording that is cut by the same rule.
    """

    backbone: str
    weights_sha256: str
    precision: str
    trained: bool
    preprocess_version: int
    input_size: int
    grid: int
    width: int
    length: int
    hop: int
    step: int
    pooling: int
    crop: str = WHOLE
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.pooling < 1 or self.grid % self.pooling:
            raise InputError(
                f"Tokens on a {self.grid}×{self.grid} grid cannot be pooled to "
                f"{self.pooling} a side",
                expected="a divisor of the grid's side: "
                + ", ".join(str(d) for d in range(1, self.grid + 1) if self.grid % d == 0),
                found=str(self.pooling),
            )

    @property
    def digest(self) -> str:
        """16 hex digits that name the folder of the tokens."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The backbone's name as every output shows it."""
        return self.backbone if self.trained else f"{self.backbone} (untrained)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to cards; without ``crop`` where frames are whole.

        So the tokens and probes from before there were crops stay in use.
        """
        fields = asdict(self)
        if self.crop == WHOLE:
            del fields["crop"]
        return fields

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TokenKey:
        """The key that `to_dict` described; a `ProjectError` where fields differ."""
        data = {"crop": WHOLE, **data}
        fields = set(cls.__dataclass_fields__)
        if set(data) != fields:
            raise ProjectError(
                "A token key cannot be read",
                expected=", ".join(sorted(fields)),
                found=", ".join(sorted(data)),
                remedy="It was made by another version of EthoPrism; extract the tokens again.",
            )
        kinds = {"str": str, "int": int, "bool": bool}
        for name, field in cls.__dataclass_fields__.items():
            value = data[name]
            sound = type(value) is kinds[str(field.type)]
            if not sound or (type(value) is int and not 0 <= value <= LARGEST):
                raise ProjectError(
                    "A token key cannot be read",
                    expected=f"{name}: {field.type}",
                    found=repr(value)[:80],
                    remedy="Extract the tokens again.",
                )
        return cls(**data)
