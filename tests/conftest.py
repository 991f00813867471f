"""Before any test imports a framework: TensorFlow reads its log level only then.

One thread for each process: tests run side by side, and threads that wait for each other's cores
make a recurrent model many times slower.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("OMP_NUM_THREADS", "1")
