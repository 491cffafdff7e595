"""Writes the catalogue of flags from a program's own argument parser.

Runs in the environment of that program, which needs nothing of this project: only the standard library is imported
here, and the program itself.
"""
