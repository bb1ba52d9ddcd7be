"""The architecture, held: imports point one way, engines know little, and every URL stands on one screen.

errors, observe, config, collector → model → store.base → ingest, timeline, live, helpdesk → http → ui → indexer →
committer → app → cli
"""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
TIERS = (  # a module may import what stands above it, and itself; packages of one tier do not import each other
    ("errors",),
    ("observe", "config", "collector"),
    ("model",),
    ("store.base",),
    ("ingest", "timeline", "live", "helpdesk"),
    ("http",),
    ("ui",),  # pages are routes too: they read requests and answer them as the API does
    ("indexer",),  # the processes beside the server
    ("committer",),
    ("app",),
    ("compact",),
    ("backup", "doctor", "transfer", "csv_transfer", "demo"),
    ("postgres_backup",),
    ("copying",),  # the last of what the command line does beside serving
    ("cli",),
    ("__main__",),
)
ENGINES = "store"  # the engines and their migrations: beside the tiers, see below
ENGINES_MAY_IMPORT = ("errors", "model", "store")
QUERIES = "store.records"  # the same on every relational engine; the helpdesk runs them through `Records`
WHO_PICKS_ENGINES = (
    "app",
    "committer",
    "indexer",
    "backup",
    "compact",
    "postgres_backup",
    "copying",
    "doctor",
    "demo",
    "cli",
)
MAY_NAME_URLS = (
    "http.routes",
    "http.described.",
    "ui.routes",
)  # "described" in the examples of the documentation


def module_name(path: Path) -> str:
    """`backstory.x.y` as `x.y`; the package itself as ``."""
    parts = path.relative_to(SOURCE / "backstory").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted((SOURCE / "backstory").rglob("*.py"))}


def imports_of(path: Path) -> set[str]:
    """The modules of ours that a module imports, also inside functions and for types alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name == "backstory" or name.startswith("backstory."):
                inner = name.removeprefix("backstory").removeprefix(".")
                while inner and inner not in MODULES:  # the name of something in a module
                    inner = inner.rpartition(".")[0]
                found.add(inner)
    return found


IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}


def part_of(module: str) -> str:
    """The entry of TIERS (or ENGINES) that a module belongs to."""
    listed = [part for tier in TIERS for part in (*tier, ENGINES)]
    parts = [part for part in listed if module == part or module.startswith(f"{part}.")]
    assert parts, f"{module} has no place in the architecture: put it into TIERS"
    return max(parts, key=len)


def tier_of(part: str) -> int:
    """How far right a part stands."""
    return next(number for number, tier in enumerate(TIERS) if part in tier)


RULED = [name for name in MODULES if name]


@pytest.mark.parametrize("module", RULED)
def test_imports_point_one_way(module: str) -> None:
    part = part_of(module)
    for imported in IMPORTS[module] - {""}:
        other = part_of(imported)
        if part == ENGINES:
            assert other.split(".")[0] in ENGINES_MAY_IMPORT, f"an engine, {module}, imports {imported}"
        elif other == ENGINES:
            runs_queries = part == "helpdesk" and imported.startswith(f"{QUERIES}.")
            assert part in WHO_PICKS_ENGINES or runs_queries, f"{module} imports the engine {imported}"
        elif other != part:
            assert tier_of(other) < tier_of(part), f"{module} imports {imported}"


def test_the_package_itself_imports_nothing() -> None:
    assert IMPORTS[""] == set()


def test_there_is_no_import_cycle() -> None:
    tuple(TopologicalSorter(IMPORTS).static_order())  # raises CycleError


def test_the_model_does_no_input_or_output() -> None:
    forbidden = {
        "asyncio",
        "pathlib",
        "socket",
        "sqlalchemy",
        "pysqlite3",
        "sqlite3",
        "threading",
        "structlog",
    }
    for module in (name for name in MODULES if name.startswith("model")):
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(MODULES[module].read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not imported & forbidden, module


def test_drivers_stay_in_the_store() -> None:
    outside = ("backup", "compact", "doctor", "demo.prepare")  # they work on the file itself
    for module, path in MODULES.items():
        if not module.startswith("store") and module not in outside:
            assert not re.search(
                r"^\s*(?:import|from) (?:pysqlite3|sqlalchemy|alembic)\b", path.read_text(), re.MULTILINE
            ), module


def code_strings(path: Path) -> list[str]:
    """The strings in a module's code, its docstrings left out."""
    tree = ast.parse(path.read_text())
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]


def test_routes_are_declared_in_one_place() -> None:
    """Only the two routes.py make a `Route`, and only they know where the API begins."""
    for module, path in MODULES.items():
        if module.startswith(MAY_NAME_URLS) or not module.startswith(("http", "app", "ui")):
            continue
        assert not re.search(r"\bRoute\(", path.read_text()), module
        declared = [
            text for text in code_strings(path) if re.match(r"/(api|healthz|readyz|metrics|openapi)\b", text)
        ]
        assert declared == [], f"{module} names URLs"


def test_every_route_is_there_once() -> None:
    from backstory.http.routes import ROUTES
    from backstory.ui.routes import PAGES

    routes = [*ROUTES, *PAGES]
    assert len({(route.method, route.path) for route in routes}) == len(routes)
    assert all(route.path == "/" or not route.path.endswith("/") for route in routes)


def test_this_test_would_notice(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "def f():\n    from backstory.http.routes import ROUTES\n    import backstory.store.sqlite\n"
    )
    assert imports_of(wrong) == {"http.routes", "store.sqlite"}
    assert tier_of(part_of("http.routes")) > tier_of(part_of("ingest.admit"))
    assert part_of("store.base") == "store.base"
    assert part_of("store.log.sqlite") == ENGINES
