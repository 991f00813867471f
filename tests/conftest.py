"""Before any test imports a framework: TensorFlow reads its log level only then.

One thread for each process: tests run side by side, and threads that wait for each other's cores
make a recurrent model many times slower. Nor does a generated example have to be quick: that would
depend on what else the machine does.
"""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
