"""Certificates: cert-manager, where a cluster does not bring it."""
