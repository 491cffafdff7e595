"""Environments that teams order themselves: what they may choose, where they are kept, how the engine is run."""
