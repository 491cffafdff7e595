"""Recording rules: what is worth keeping, under one name on every cloud."""
