"""What is worth a look next: bouts to review, spans to label, and how much is still unfound."""

from ethoprism.suggest.review import REVIEW_COLUMNS, review_bouts

__all__ = ["REVIEW_COLUMNS", "review_bouts"]
