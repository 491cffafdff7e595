"""What an environment needs, worked out without touching anything: catalogue and sizing.

Pure Python: imports neither Pulumi nor `stacks`, opens no network connection.
"""
