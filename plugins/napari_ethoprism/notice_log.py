"""What the user was told, newest last; no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from napari_ethoprism.session import Notice

MOST = 200
"""Older notices are forgotten."""


@dataclass(frozen=True)
class Told:
    """A notice, when it was last told, how often in a row, and what was being done."""

    notice: Notice
    time: datetime
    times: int = 1
    doing: str = ""

    @property
    def text(self) -> str:
        """As it is shown: what was being done, what happened and the remedy."""
        doing = f"{self.doing}: " if self.doing else ""
        again = f" ({self.times} times)" if self.times > 1 else ""
        return f"{doing}{self.notice.text}{again}"


class NoticeLog:
    """The notices of one session. What is told twice in a row is kept once, with a count."""

    def __init__(self) -> None:
        self._told: list[Told] = []

    def add(self, notice: Notice, *, doing: str = "", now: datetime | None = None) -> Told:
        """Keep a notice and return it as it is kept.

        An error that a dock tells and its job tells too is one notice: it names what was done.
        """
        now = now or datetime.now()
        last = self._told[-1] if self._told else None
        if last is not None and last.notice == notice:
            # One job's failure may be told by its dock and by the jobs, in the same moment.
            same = bool(doing) != bool(last.doing) and (now - last.time).total_seconds() < 1.0
            made = replace(
                last,
                time=now,
                times=last.times if same else last.times + 1,
                doing=last.doing or doing,
            )
            self._told[-1] = made
            return made
        made = Told(notice, now, 1, doing)
        self._told.append(made)
        del self._told[:-MOST]
        return made

    def __len__(self) -> int:
        return len(self._told)

    def __iter__(self):
        return iter(tuple(self._told))

    @property
    def text(self) -> str:
        """All of it, a notice a line, to be copied into a report."""
        return "\n".join(
            f"{told.time:%Y-%m-%d %H:%M:%S} {told.notice.kind}: {told.text}" for told in self._told
        )
