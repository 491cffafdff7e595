"""Benchmarks: figures as ratios measured side by side, stored with the machine's facts."""
