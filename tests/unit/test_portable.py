"""The harness can be imported on systems that are not POSIX."""

import ast
import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.unit.test_architecture import FRAMEWORKS, SOURCES, modules, name, top

ABSENT = ("resource", "fcntl", "termios", "pwd", "grp", "tty", "pty", "syslog")
LACKING = {
    "os": "fork forkpty getgid getpgid getpid_fd getpriority getuid geteuid killpg mkfifo"
    " pidfd_open posix_spawn pread register_at_fork sched_getaffinity set_blocking setgid setpgid"
    " setsid setuid statvfs sysconf uname wait3 wait4 waitid WEXITSTATUS WIFEXITED WIFSIGNALED",
    "signal": "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP"
    " SIGUSR1 SIGUSR2 SIGXCPU alarm pause pthread_kill pthread_sigmask set_wakeup_fd setitimer"
    " sigpending sigtimedwait sigwait sigwaitinfo",
}
"""What these modules of Python's do not have on Windows."""
PROGRAM = """
import importlib, json, sys
absent, names = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(absent))
refused = {}
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        refused[name] = str(error)
print(json.dumps(refused))
"""


def at_the_top(tree):
    """Every node that runs when the module is imported."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += [*getattr(node, "decorator_list", ()), *node.args.defaults]
            todo += [default for default in node.args.kw_defaults if default]
        else:
            todo += ast.iter_child_nodes(node)


def lacking(tree):
    """What a module needs at its top that is not everywhere."""
    for node in at_the_top(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in ABSENT)
            case ast.ImportFrom(module=module, names=names):
                unknown = LACKING.get(module, "").split()
                yield from (a.name for a in names if module in ABSENT or a.name in unknown)
            case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                if attribute in LACKING.get(module, "").split():
                    yield f"{module}.{attribute}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_that_only_posix_has_is_needed_at_the_top_of_a_module(path):
    lacked = sorted(set(lacking(ast.parse(path.read_text()))))
    assert not lacked


@pytest.mark.parametrize(
    "text",
    [
        "import resource",
        "from fcntl import flock",
        "from signal import SIGKILL",
        "import os\nclass A:\n    page = os.sysconf('SC_PAGE_SIZE')",
        "import signal\ndef f(number=signal.SIGKILL): pass",
    ],
)
def test_what_is_looked_for_is_found(text):
    assert list(lacking(ast.parse(text)))
    assert not list(lacking(ast.parse("import os, signal\ndef f(): return os.fork()")))


@pytest.mark.slow
def test_every_module_is_imported_without_the_modules_that_only_posix_has():
    names = [
        name(path)
        for path in SOURCES
        if not {top(module) for module in modules(path)} & FRAMEWORKS
        and path.stem not in ("__main__", "child_main")
    ]
    assert len(names) > 150
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([ABSENT, names])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused = json.loads(done.stdout.splitlines()[-1])
    assert not refused
