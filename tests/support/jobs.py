"""Jobs of any runtime: a cell, ready to be judged."""

from harness.core.results import Cell
from harness.runtimes.guard import GuardedRuntime
from harness.validation import engine
from harness.validation.job import Ready, once_more


def held(runtime, name="planted"):
    """A runtime as the harness holds it, guarded."""
    return runtime if isinstance(runtime, GuardedRuntime) else GuardedRuntime(runtime, name)


def ready(golden, model, runtime, cell=None, cases=None, **more):
    """A job of ``cell``, or of the doubler's, at ``cases``, or all of the golden's."""
    cell = cell or Cell("doubler", "torch", "native", "fp32", "planted")
    cases = golden.cases if cases is None else cases
    more = {"again": once_more(cases), **more}
    runtime = held(runtime, cell.runtime)
    return Ready(cell=cell, golden=golden, runtime=runtime, cases=cases, model=model, **more)


def judged(job, *more):
    """What the engine makes of one job."""
    (result,) = engine.run([job], *more)
    return result
