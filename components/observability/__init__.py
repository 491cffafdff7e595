"""Prometheus and Grafana: what is scraped, recorded, shown and alerted on."""
