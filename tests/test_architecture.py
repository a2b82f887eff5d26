"""The plan of the house: who may import whom, how long things may be, what must be explained."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "davezoo"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = (
    "ops",
    "nn",
    "annotations",
    "evaluation",
    "leaderboards",
    "diagnosis",
    "data",
    "inspection",
    "methods",
    "analysis",
)

# What a file or room may import of davezoo, itself apart; arrows point only downward. A room stands
# for all its files. `task` gets single files of rooms: the type of its network, its metric and its
# protocols.
ALLOWED = {
    "errors": set(),
    "structures": set(),
    "whole_files": set(),
    "json_files": {"whole_files"},
    "annotations": {"json_files"},
    "leaderboards": {"annotations", "evaluation", "json_files", "recipes", "whole_files"},
    "ops": {"structures"},
    "nn": {"structures", "ops"},
    "pages": set(),
    "evaluation": {"annotations", "json_files", "pages", "whole_files"},
    "evaluation.metric": {"annotations", "structures"},
    "evaluation.predictions": {
        "annotations",
        "json_files",
        "structures",
    },  # the type `Events` alone
    "diagnosis": {"annotations", "evaluation", "pages", "whole_files"},
    "data": {
        "annotations",
        "json_files",
        "structures",
        "ops.padding",
        "ops.resampling",
        "recipes",
        "whole_files",
    },
    "inspection": {"annotations", "evaluation.results", "pages", "whole_files"},
    "inspection.collect": {"annotations", "data"},
    "inspection.inspect": {
        "data",
        "evaluation.results",
        "nn.two_stream",
    },  # the usual regression ranges alone
    "schedules": set(),
    "dashboards": {"evaluation", "methods", "nn", "runs", "structures"},
    "callbacks": {"structures"},
    "arrays": {"structures", "ops.padding", "ops.resampling"},
    "predictor": {"arrays", "structures", "ops", "nn.detector"},
    "task": {
        "annotations.video_scores",
        "predictor",
        "structures",
        "ops",
        "nn.detector",
        "evaluation.metric",
        "evaluation.protocols",
        "schedules",
    },
    "methods": {"structures", "ops", "nn", "task"},
    "recipes": set(),
    "options": {"recipes"},
    # These two bring scores and their diagnosis together on one page.
    "reports": {"annotations", "diagnosis", "evaluation"},
    "runs": {"annotations", "diagnosis", "evaluation"},
    "checkpoints": {"methods", "task", "whole_files"},
    "provenance": {"data", "evaluation", "nn", "options", "structures", "task"},
    "published": {"nn"},
    "convert": {"annotations", "checkpoints", "methods", "published"},
    "training": {
        "callbacks",
        "checkpoints",
        "dashboards",
        "data",
        "evaluation",
        "json_files",
        "nn",
        "options",
        "provenance",
        "recipes",
        "runs",
        "task",
    },
    "analysis": {
        "checkpoints",
        "data",
        "evaluation.results",
        "json_files",
        "methods.ccnet",
        "nn.windows",
        "structures",
        "task",
        "whole_files",
    },
    "complexity": {"data", "nn", "options", "task", "training"},
    "cli": {"checkpoints", "complexity", "data", "options", "recipes", "training"},
    "__main__": {"cli"},
}
# The package itself only hands names on; its version may be read from anywhere.
PLAIN_PYTORCH = ("structures", "ops", "nn")
# What scores, reports and helps must not wait for PyTorch.
WITHOUT_TORCH = (
    "errors",
    "whole_files",
    "json_files",
    "annotations",
    "recipes",
    "pages",
    "reports",
    "runs",
    "cli",
    "evaluation",
    "leaderboards",
    "diagnosis",
    "inspection",
)
BUT_WITH_TORCH = ("evaluation.metric", "inspection.collect", "inspection.inspect")

# Files without logic of their own.
WITHOUT_MIRROR = {
    "__init__.py": "hands names on; tests import through it",
    "__main__.py": "two lines; tests/test_cli.py runs it",
    "errors.py": "one class without a body; every test of bad input meets it",
}
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 70


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_of(path):
    """Return `nn.layers` for davezoo/nn/layers.py and `nn` for davezoo/nn/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(tree):
    """Yield (line, name) of everything imported anywhere in a file; names are absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own_imports(tree):
    """Yield (line, module) of what is imported of davezoo, without its first word."""
    for line, name in imports(tree):
        if name.partition(".")[0] == "davezoo":
            yield line, name.removeprefix("davezoo").removeprefix(".")


def within(name, places):
    """Say whether a dotted name lies in one of the places."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def rule_of(module):
    """Return the key of the rule for a module: its own, or that of its room."""
    return module if module in ALLOWED else module.partition(".")[0]


def forbidden_imports(module, tree):
    """Return what a file imports of davezoo against the plan."""
    room = module.partition(".")[0]
    allowed = ALLOWED[rule_of(module)] | {"__version__", "errors"}
    if room in ROOMS:
        allowed = allowed | {room}
    found = own_imports(tree)
    return [f"line {line}: {name}" for line, name in found if not within(name, allowed)]


MODULES = {module_of(path): path for path in FILES}
PLACED = {module: path for module, path in MODULES.items() if module}
by_module = pytest.mark.parametrize("module", PLACED)
by_file = pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])


def test_every_file_has_a_place_in_the_plan():
    unplaced = [module for module in PLACED if rule_of(module) not in ALLOWED]
    assert unplaced == []
    assert {place for place in ALLOWED if place not in (*ROOMS, *MODULES)} == set()
    assert {path.parent.name for path in FILES} == {PACKAGE.name, *ROOMS}


@by_module
def test_imports_run_one_way(module):
    assert forbidden_imports(module, parse(PLACED[module])) == []


def test_the_package_imports_nothing_before_it_is_used():
    tree = parse(PACKAGE / "__init__.py")
    at_import = {
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for _, name in imports(ast.Module(body=[node], type_ignores=[]))
    }
    roots = {name.partition(".")[0] for name in at_import}
    assert roots <= {"__future__", "importlib", "typing"}


@pytest.mark.parametrize("module", [m for m in PLACED if within(m, PLAIN_PYTORCH)])
def test_networks_and_operations_are_plain_pytorch(module):
    roots = {name.partition(".")[0] for _, name in imports(parse(PLACED[module]))}
    assert roots - set(sys.stdlib_module_names) <= {"torch", "numpy", "davezoo"}


def test_file_tools_do_not_import_torch():
    modules = [m for m in PLACED if within(m, WITHOUT_TORCH) and m not in BUT_WITH_TORCH]
    assert len(modules) > 10
    names = ", ".join(f"davezoo.{module}" for module in modules)
    code = f"import sys, {names}; print(sorted({{'torch', 'lightning'}} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


@by_file
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_A_FILE


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@by_file
def test_functions_are_short(path):
    lines = {f.name: f.end_lineno - f.lineno + 1 for f in functions(parse(path))}
    assert {n: c for n, c in lines.items() if c > MOST_LINES_OF_A_FUNCTION} == {}


@by_file
def test_nothing_is_asserted_or_printed(path):
    """Assertions vanish under `python -O`; prints cannot be turned off."""
    nodes = list(ast.walk(parse(path)))
    asserts = [node.lineno for node in nodes if isinstance(node, ast.Assert)]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    prints = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert (asserts, prints) == ([], [])


def undocumented(node, name):
    """Yield the public names in a file, class or function that no docstring explains."""
    if not ast.get_docstring(node):
        yield name
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                # A private class shows nothing to anybody: its methods are private with it.
                yield from undocumented(child, f"{name}.{child.name}")


@by_file
def test_everything_public_is_explained(path):
    assert list(undocumented(parse(path), module_of(path) or "davezoo")) == []


@by_file
def test_every_file_has_its_tests(path):
    if path.name in WITHOUT_MIRROR:
        pytest.skip(WITHOUT_MIRROR[path.name])
    place = path.relative_to(PACKAGE)
    mirror = ROOT / "tests" / place.with_name(f"test_{place.stem.rstrip('_')}.py")
    assert mirror.is_file(), f"write {mirror.relative_to(ROOT)}"


# The rules themselves: each must be able to fail --------------------------------------------------


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("nn.layers", "from davezoo.data.collate import collate"),
        ("nn.layers", "from davezoo.task import EventLocalizer"),
        ("ops.nms", "import davezoo.nn.layers"),
        ("data.dataset", "from davezoo.evaluation import metric"),
        ("data.dataset", "from davezoo import evaluation"),
        ("evaluation.scoring", "from davezoo.structures import Events"),
        ("evaluation.metric", "from davezoo.nn.detector import Detector"),
        ("task", "from davezoo.methods import UnAV"),
        ("task", "from davezoo.nn.layers import TemporalConv"),
        ("task", "from davezoo.evaluation.predictions import read_predictions"),
        ("methods.unav", "def f():\n    from davezoo.data import EventDataModule"),
        ("structures", "from davezoo.ops.points import assign"),
    ],
)
def test_a_wrong_import_is_found(module, line):
    assert len(forbidden_imports(module, ast.parse(line))) == 1


def test_a_missing_docstring_is_found():
    text = '"""A file."""\nclass A:\n    """A."""\n    def f(self): ...\n    def _g(self): ...\n'
    assert list(undocumented(ast.parse(text), "x")) == ["x.A.f"]
    assert list(undocumented(ast.parse("def f(): ..."), "x")) == ["x", "x.f"]
