"""Environments: their typed configuration, and the command line."""
