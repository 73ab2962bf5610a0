"""The labels of a project in SQLite, kept so that none can be lost.

`AnnotationStore` is the public face. Behind it: a log of operations (`log`), snapshots
(`snapshots`), checks (`integrity`) and recovery (`recovery`) at opening, a lock that names its
holder (`lock`), the CSV mirror (`mirror`), migration of older files (`schema`) and the merging of
two copies (`merge`).
"""

from ethoprism.store.annotations import AnnotationStore, Edit, NewIds
from ethoprism.store.lock import Holder, Locked, holder_of
from ethoprism.store.recovery import RecoveryReport
from ethoprism.store.schema import APPLICATION_ID, SCHEMA_VERSION
from ethoprism.store.session import Mode
from ethoprism.store.snapshots import Snapshot, snapshots_of

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "AnnotationStore",
    "Edit",
    "Holder",
    "Locked",
    "Mode",
    "NewIds",
    "RecoveryReport",
    "Snapshot",
    "holder_of",
    "snapshots_of",
]
