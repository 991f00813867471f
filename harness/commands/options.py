"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.exporters import DEFAULT_OPSET, EXPORTERS, OPSETS
from harness.exporters.variants import VARIANTS
from harness.frameworks import FRAMEWORKS
from harness.processes.limits import SECONDS, SILENCE
from harness.runtimes import RUNTIMES
from harness.runtimes.ort_options import LEVELS

if TYPE_CHECKING:
    from harness.validation.selection import Selection

GOLDEN = Path("golden")
ARTIFACTS = Path("build/artifacts")


def exporters() -> list[str]:
    """Return the exporters by name, whichever framework they take."""
    return list(dict.fromkeys(key.rpartition("/")[0] for key in EXPORTERS))


def variants() -> list[str]:
    return list(VARIANTS)


def add_subjects(parser: argparse.ArgumentParser) -> None:
    """Add the subjects to judge, by default every reference model."""
    parser.add_argument(
        "subject",
        nargs="*",
        help="a reference model's name or glob, a bundle folder, a folder of ONNX tests, or a .onnx"
        " file with --golden (default: every reference model)",
    )


WITH_CUDA = "ort-cpu, and ort-cuda where there is a CUDA device"


def add_matrix(parser: argparse.ArgumentParser, runtimes: str = WITH_CUDA) -> None:
    """Add the selectors of the matrix: comma-separated, repeatable, ``all`` and globs allowed."""
    group = parser.add_argument_group(
        "selectors", "comma-separated names or globs, repeatable, or 'all'"
    )
    add = group.add_argument
    for name, choices, default in (
        ("framework", FRAMEWORKS, ""),
        ("exporter", exporters(), " (default: native)"),
        ("variant", VARIANTS, " (default: fp32)"),
        ("runtime", RUNTIMES, f" (default: {runtimes})"),
    ):
        about = f"{', '.join(choices)}{default}"
        add(f"--{name}", action="append", metavar="NAME", help=about)
    add("--lengths", action="append", metavar="N,A..B", help="lengths of a case's longest axis")
    add("--batch", action="append", metavar="N,A..B", help="batch sizes")
    add("-k", dest="keyword", metavar="EXPRESSION", help="parts of cell ids, and, or, not, ( )")
    add("--shard", metavar="I/N", help="the I-th of N parts of the cells")


def add_ort_options(parser: argparse.ArgumentParser) -> None:
    """Add settings of ONNX Runtime's sessions, None or empty by default."""
    group = parser.add_argument_group("ONNX Runtime", "refused where another runtime is selected")
    group.add_argument(
        "--optimization",
        choices=LEVELS,
        metavar="LEVEL",
        help=f"graph optimisations: {', '.join(LEVELS)} (default: all)",
    )
    group.add_argument(
        "--intra-op-threads",
        type=at_least_one,
        metavar="N",
        help="threads that share the work of one node (default: one for each physical core)",
    )
    group.add_argument(
        "--provider-option",
        action="append",
        default=[],
        type=_key_value,
        metavar="KEY=VALUE",
        help="an option of the execution provider, such as use_tf32=1 of CUDA; repeatable",
    )


def add_isolation(parser: argparse.ArgumentParser) -> None:
    """Add which cells run in child processes, how many at a time, and their limits."""
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--isolate",
        action=argparse.BooleanOptionalAction,
        help="judge every cell in a child process, where a crash, a hang or a flood of output"
        " becomes a result with status error; or none (default: those of runtimes other than"
        " ort-cpu and ort-cuda, and one in which a process died before)",
    )
    group.add_argument(
        "--workers",
        type=at_least_one,
        default=1,
        metavar="N",
        help="cells judged at a time, each in a child process where N is not 1 (default: 1)",
    )
    add_timeout(group, "a cell in a process of its own, as all are then, and for an export")
    group.add_argument(
        "--memory-limit",
        type=_above_zero,
        metavar="GIB",
        help="data that a process of a cell or of an export may hold; isolates every cell"
        " (default: half of the machine's memory where isolated, and for an export)",
    )
    add_no_limit(group)


def add_no_limit(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add that a model which is not a reference model may take any time and memory."""
    parser.add_argument(
        "--no-limit",
        action="store_true",
        help="let a model that comes from a file take any time and memory (default: it is killed"
        f" after {SILENCE:g} s without a sign of life, {SECONDS:g} s in all, or above half of the"
        " machine's memory)",
    )


def add_timeout(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, what: str, default: float = SECONDS
) -> None:
    """Add the time that one child process may take, None by default."""
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help=f"time for {what}; what takes longer is killed (default: {default:g})",
    )


def add_output(
    parser: argparse.ArgumentParser, *, quiet: bool = True, verbose: str = "", json: bool = True
) -> None:
    """Add how a command reports, in the same words for all; ``-v`` shows ``verbose``."""
    if json:
        parser.add_argument(
            "--json",
            action="store_true",
            help="print the report as JSON on standard output, all else on standard error",
        )
    if verbose:
        parser.add_argument("-v", "--verbose", action="store_true", help=f"show {verbose}")
    if quiet:
        parser.add_argument(
            "-q", "--quiet", action="store_true", help="show the outcome alone, no progress"
        )


def _seconds(text: str) -> float:
    """Return a time-out: above 0, and no longer than anyone waits."""
    return _above_zero(text, "number of seconds", 1_000_000)


def _above_zero(text: str, kind: str = "number", most: int = 1_000_000_000) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a {kind} above 0, up to {most:,}")
    return number


def at_least_one(text: str) -> int:
    """Return a whole number from 1."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1")
    return int(text)


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r}; expected KEY=VALUE, such as use_tf32=1")
    return key, value


def add_places(parser: argparse.ArgumentParser, files: bool = True) -> None:
    """Add where goldens are, of ``.onnx`` ``files`` too, and the opset to export at."""
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="DIR",
        help="the folder of goldens (default: golden)"
        + ("; for a .onnx file, its golden" if files else ""),
    )
    parser.add_argument(
        "--opset",
        type=int,
        default=DEFAULT_OPSET,
        choices=OPSETS,
        metavar="N",
        help=f"opset to export at, {OPSETS[0]} to {OPSETS[-1]} (default: 18, for which every"
        " deployed ONNX Runtime has CUDA kernels of LSTM and GRU; its CUDA 12 builds have none at"
        " opset 22)",
    )


def selection(args: argparse.Namespace, **more: Any) -> Selection:
    """Return the selection of a parsed command line.

    ``more`` are fields of the selection that the command has besides, or has otherwise.
    """
    from harness.runtimes.settings import Settings
    from harness.validation.selection import Selection

    fields = {
        "subjects": args.subject,
        "frameworks": args.framework or (),
        "exporters": args.exporter or (),
        "variants": args.variant or (),
        "runtimes": args.runtime or (),
        "lengths": args.lengths or (),
        "batch": args.batch or (),
        "keyword": args.keyword,
        "shard": args.shard,
        "golden": args.golden,
        "opset": args.opset,
        "artifacts": args.artifacts,
    }
    if "optimization" in args:
        options = dict(args.provider_option)
        fields["settings"] = Settings(args.optimization, args.intra_op_threads, options)
    return Selection(**{**fields, **more})


def add_artifacts(parser: argparse.ArgumentParser) -> None:
    """Add where exports are kept."""
    add_folder(parser, "--artifacts", ARTIFACTS, "where exported models are kept")


def add_folder(parser: argparse.ArgumentParser, flag: str, default: Path, about: str) -> None:
    """Add a folder, with its default in the help."""
    text = f"{about} (default: {default.as_posix()})"
    parser.add_argument(flag, type=Path, default=default, metavar="DIR", help=text)
