"""Nothing that is opened can run: no call in the three packages could unpickle or evaluate it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ethoprism", "plugins", "datasets")

MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch",
    "tables", "jsonpickle", "xmlrpc",
}  # fmt: skip
"""Modules whose readers can run what they read."""

CALLS = {
    "eval", "exec", "compile", "__import__", "read_pickle", "read_hdf", "loadmat", "to_pickle",
    "system", "popen", "Unpickler", "unsafe_load", "full_load", "load_all", "UnsafeLoader",
    "FullLoader",
}  # fmt: skip
"""Functions and methods that run text or unpickle."""

ALLOWED = {
    ("re", "compile"),  # a regular expression, not code
    ("box", "exec"),  # shows a dialog of Qt
    ("dialog", "exec"),
}


def sources() -> list[Path]:
    return sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))


def faults(tree: ast.AST) -> Iterator[str]:
    """What in a module could run a file's content, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *names] if not node.level else []
            for name in names:
                if name.split(".")[0] in MODULES:
                    yield f"line {node.lineno}: imports {name}"
        if isinstance(node, ast.Call):
            yield from _call_faults(node)
        if isinstance(node, ast.Constant) and node.value == "allow_pickle":
            yield f"line {node.lineno}: passes allow_pickle indirectly"


def _call_faults(node: ast.Call) -> Iterator[str]:
    name, owner = _name(node.func)
    options = {k.arg: k.value for k in node.keywords}
    if name in CALLS and (owner, name) not in ALLOWED:
        yield f"line {node.lineno}: calls {owner}.{name}"
    if name == "load" and owner in ("np", "numpy", "npy", "jnp"):
        value = options.get("allow_pickle")
        if not isinstance(value, ast.Constant) or value.value is not False:
            yield f"line {node.lineno}: np.load without allow_pickle=False"
    if name == "load" and owner == "yaml":
        yield f"line {node.lineno}: yaml.load instead of yaml.safe_load"
    if name in ("read_array", "fromfile_object") and "allow_pickle" not in options:
        yield f"line {node.lineno}: {name} without allow_pickle=False"
    value = options.get("allow_pickle")
    if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
        yield f"line {node.lineno}: allow_pickle is not False"
    value = options.get("shell")
    if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
        yield f"line {node.lineno}: a shell is started"
    if name == "read_csv":
        # pandas opens addresses, and unpacks archives by their ending; a Path is never an address.
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) or (isinstance(first, ast.Call) and _is_str(first)):
            yield f"line {node.lineno}: read_csv of text, which may be an address"


def _is_str(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "str"


def _name(node: ast.expr) -> tuple[str, str]:
    if isinstance(node, ast.Name):
        return node.id, ""
    if isinstance(node, ast.Attribute):
        value = node.value
        return node.attr, value.id if isinstance(value, ast.Name) else "…"
    return "", ""


def test_there_are_sources():
    assert len(sources()) > 60


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_in_the_packages_unpickles_or_evaluates(path: Path):
    assert not list(faults(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "import torch",
        "def f():\n    import dill",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.load(path, **{'allow_pickle': True})",
        "npy.read_array(file)",
        "pd.read_pickle(path)",
        "pd.read_hdf(path)",
        "scipy.io.loadmat(path)",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
        "yaml.full_load(text)",
        "pd.read_csv('http://a.b/c.csv')",
        "pd.read_csv(str(path))",
    ],
)
def test_what_the_check_would_find(text: str):
    assert list(faults(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "np.load(path, allow_pickle=False)",
        "re.compile(text)",
        "pd.read_csv(path)",
        "json.loads(t)",
        "yaml.safe_load(t)",
    ],
)
def test_what_the_check_lets_pass(text: str):
    assert not list(faults(ast.parse(text)))
