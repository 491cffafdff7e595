"""Amazon EKS. Importing this package loads no SDK: `cloud.py` does, and only when this cloud is chosen."""
