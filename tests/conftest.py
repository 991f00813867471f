"""Before any test imports a framework: TensorFlow reads its log level only then.

One thread for each process: tests run side by side, and threads that wait for each other's cores
make a recurrent model many times slower. Nor does a generated example have to be quick: that would
depend on what else the machine does.
"""

import os

from hypothesis import HealthCheck, settings

from harness.processes import forked

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A process that has loaded a framework starts its children anew, which takes a second for each
# model from a file. Nothing that runs in a fork here uses the framework.
forked._NOT_FORKED = ()
