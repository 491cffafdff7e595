"""What makes the GPUs of a node usable and visible: driver, device plugin, sharing, metrics."""
