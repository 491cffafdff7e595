"""Alerts: budgets that burn, and faults; each with a runbook."""
