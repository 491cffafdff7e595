"""The gateway: one address for all models of an environment."""
