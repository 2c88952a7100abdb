import os

# Before any library with OpenMP is loaded: spinning threads starve whatever else the machine does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
