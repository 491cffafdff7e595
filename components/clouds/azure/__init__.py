"""Microsoft Azure: AKS clusters, agent pools, node auto-provisioning, Azure Files and Blob for weights."""
