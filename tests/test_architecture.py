"""Who may import whom, and the lines that have one room only.

Read from the syntax tree of every file, so that an import inside a function counts as well; imports for type checkers
alone (`if TYPE_CHECKING:`) do not.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "cnnviz").rglob("*.py"))
DASHBOARD = sorted((ROOT / "dashboard").rglob("*.py"))
VIEWS = [path for path in DASHBOARD if path.parent.name == "views" and path.name != "__init__.py"]

# module -> everything that it, and whatever lies under it, may import besides the standard library
MAY_IMPORT = {
    "cnnviz.errors": (),
    "cnnviz.trace": ("torch", "cnnviz.errors"),
    "cnnviz.rules": ("torch", "cnnviz.errors"),
    "cnnviz.target": ("torch", "cnnviz.errors"),
    "cnnviz.convolution": ("numpy", "cnnviz.errors"),
    "cnnviz.figures": ("numpy", "plotly", "PIL", "cnnviz.figures"),
    "cnnviz.embedding": (
        "numpy",
        "scipy",
        "sklearn",
        "torch",
        "umap",
        "openTSNE",
        "cnnviz.errors",
        "cnnviz.tsne_engine",
    ),
    "cnnviz.attribution": (
        "numpy",
        "torch",
        "captum",
        "cnnviz.attribution",
        "cnnviz.occlusion",
        "cnnviz.rules",
        "cnnviz.trace",
        "cnnviz.target",
        "cnnviz.model",
        "cnnviz.errors",
    ),
    "dashboard.cache": ("numpy", "PIL", "torch", "streamlit", "cnnviz"),
    "dashboard.components": ("numpy", "PIL", "plotly", "streamlit", "cnnviz", "dashboard.components"),
    "dashboard.jobs": ("numpy", "torch", "streamlit", "cnnviz", "dashboard.jobs"),
}
NEVER = {
    "cnnviz": ("streamlit", "dashboard"),
    "dashboard.views": ("dashboard.app", "dashboard.server", "dashboard.gate", "dashboard.warmup"),
    "dashboard.choices": ("dashboard.views", "dashboard.jobs", "dashboard.app", "dashboard.server"),
}
# `cnnviz.show` and the command line start the dashboard, inside a function and nowhere else
STARTS_THE_DASHBOARD = ("cnnviz/show.py", "cnnviz/cli.py")

# a pattern -> the only files whose code may match it
ONE_ROOM = {
    r"\.register_(module_|full_)?(forward|backward)(_pre)?_hook\b": ("cnnviz/trace.py",),
    r"\bst(reamlit)?\.cache(_data|_resource)?\b": ("dashboard/cache.py",),
    r"\.backward\(": ("cnnviz/training.py",),
    r"\b(torch|np|numpy\.random|np\.random|random)\.(manual_)?seed\(": ("cnnviz/training.py",),
    r"weights_only\s*=\s*False": (),
    r"\b(symbolic_trace|make_fx|torch\.export\.export|torch\.jit\.trace|torch\.compile)\b": (),
    r"\bunsafe_allow_html\s*=\s*True": (),
}
# extras that are imported only where they are installed
OPTIONAL = {"timm", "openTSNE", "umap", "ray"}
COLOUR = re.compile(r"#(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})\b(?!-)", re.IGNORECASE)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_in(source: str, module: str, package: bool = False) -> Iterator[str]:
    """Every name that `source` imports, absolute: `from a import b` gives `a.b`."""
    home = module if package else module.rpartition(".")[0]
    for node in _without_type_checking(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = home.split(".")[: len(home.split(".")) - node.level + 1] if node.level else []
            yield from (".".join([*above, *filter(None, [node.module]), name.name]) for name in node.names)


def _without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _without_type_checking(child)


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(imports_in(path.read_text(encoding="utf-8"), module_of(path), path.name == "__init__.py"))


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def strings_and_code(path: Path) -> str:
    """The file's code as Python would write it: no comments, docstrings gone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value = ast.Constant(...)
    return ast.unparse(tree)


def code_of(path: Path) -> str:
    """The same with every text emptied: a sentence may name what a line must not do."""
    tree = ast.parse(strings_and_code(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", LIBRARY + DASHBOARD, ids=name_of)
def test_a_module_imports_only_what_it_may(path: Path) -> None:
    for owner, allowed in MAY_IMPORT.items():
        if under(module_of(path), owner):
            foreign = [name for name in imports_of(path) if name.split(".")[0] not in sys.stdlib_module_names]
            assert [name for name in foreign if not any(under(name, good) for good in allowed)] == []


@pytest.mark.parametrize("path", LIBRARY + DASHBOARD, ids=name_of)
def test_a_module_never_imports_what_lies_above_it(path: Path) -> None:
    for owner, forbidden in NEVER.items():
        if under(module_of(path), owner) and name_of(path) not in STARTS_THE_DASHBOARD:
            assert [name for name in imports_of(path) if any(under(name, bad) for bad in forbidden)] == []


@pytest.mark.parametrize("path", VIEWS, ids=name_of)
def test_no_view_imports_a_view(path: Path) -> None:
    others = [f"dashboard.views.{other.stem}" for other in VIEWS]
    assert [name for name in imports_of(path) if any(under(name, other) for other in others)] == []


def test_what_starts_the_dashboard_imports_it_only_inside_a_function() -> None:
    for name in STARTS_THE_DASHBOARD:
        if (ROOT / name).exists():
            tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
            tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
            assert [found for found in imports_in(ast.unparse(tree), "cnnviz.x") if under(found, "dashboard")] == []


@pytest.mark.parametrize("path", LIBRARY + DASHBOARD, ids=name_of)
def test_a_line_stands_in_its_one_room(path: Path) -> None:
    code = code_of(path)
    for pattern, rooms in ONE_ROOM.items():
        if name_of(path) not in rooms:
            assert re.findall(pattern, code) == [], pattern


def test_colours_are_written_in_the_theme_alone() -> None:
    kinds = (".py", ".css", ".js", ".html")
    files = [path for folder in ("cnnviz", "dashboard") for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    found = {
        name_of(path): COLOUR.findall(_shown(path)) for path in files if name_of(path) != "cnnviz/figures/theme.py"
    }
    assert {name: colours for name, colours in found.items() if colours} == {}


def test_every_package_that_is_imported_is_pinned() -> None:
    pinned = _pinned("requirements.txt")
    distributions = packages_distributions()
    names = {name.split(".")[0] for path in LIBRARY + DASHBOARD for name in imports_of(path)}
    foreign = names - set(sys.stdlib_module_names) - {"cnnviz", "dashboard", *OPTIONAL}
    missing = {name for name in foreign if not pinned & {_plain(d) for d in distributions.get(name, [name])}}
    assert missing == set()


def test_every_requirement_is_pinned_to_one_version() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in _lines(name):
            assert line == "-r requirements.txt" or re.fullmatch(r"[\w.-]+==\d[\w.]*", line), line


def test_the_reader_of_imports_sees_every_way_to_write_one() -> None:
    source = (
        "import a.b\nfrom . import c\nfrom ..d import e\nif TYPE_CHECKING:\n    import never\n"
        "def f():\n    from g import h\n"
    )
    assert list(imports_in(source, "top.middle.leaf")) == ["a.b", "top.middle.c", "top.d.e", "g.h"]


@pytest.mark.parametrize("text", ["#0B6660", "color: #fff;", "'#11181dcc'"])
def test_a_colour_is_recognised(text: str) -> None:
    assert COLOUR.findall(text)


def _shown(path: Path) -> str:
    return strings_and_code(path) if path.suffix == ".py" else path.read_text(encoding="utf-8")


def _lines(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _pinned(name: str) -> set[str]:
    return {_plain(line.partition("==")[0]) for line in _lines(name)}


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
