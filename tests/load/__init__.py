"""Load: `make load` measures this service and a baseline beside it, in one run."""
