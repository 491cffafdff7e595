"""The embedded cluster: a real Kubernetes control plane without containers."""
