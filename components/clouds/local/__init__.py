"""The embedded cluster: a real control plane, nodes that are not there, pods as processes."""
