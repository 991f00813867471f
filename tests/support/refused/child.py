"""The exporting process for models whose parameters are those they were built with."""

from harness import exporting
from harness.frameworks import FRAMEWORKS
from harness.registry import resolve

if __name__ == "__main__":

    def built(adapter):
        own = adapter.build
        adapter.build = lambda twin, spec, parameters, *rest: own(twin, spec, None, *rest)
        return adapter

    exporting.resolve = lambda target: (
        built(resolve(target)) if target in FRAMEWORKS.values() else resolve(target)
    )
    exporting.child()
