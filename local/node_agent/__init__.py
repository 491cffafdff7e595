"""The node agent: does for pods on the local cloud what a kubelet does, with processes for containers.

`python -m local.node_agent --kubeconfig PATH --state-dir DIR` runs it; images.toml
says which image is which program. Pods with any other image are KWOK's;
`local.node_agent.images.known_images` is the list.
"""
