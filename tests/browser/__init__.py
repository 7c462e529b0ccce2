"""What needs a browser or Node: run by `.ci/browser`, not by `make test`, which needs Python alone."""
