"""A cluster that is there already. Importing this package loads no SDK: `cloud.py` does, when this cloud is chosen."""
