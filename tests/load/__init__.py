"""Load: `make bench` measures this service and its peers, in one run."""
