"""Faults: real processes, real signals, and the promises checked from outside."""
