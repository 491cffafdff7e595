"""What an environment on the embedded cluster says of itself under load, kept: test data of rules, pictures for docs.

`environment` deploys, loads and drains one; `series` is what is kept of its raw series, `panels` what its Prometheus
answered to the dashboards' queries, and `pictures` draws the dashboards from that.
"""
