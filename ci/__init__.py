"""Steps of a user's CI: what a pull request would change and cost, deployment after approval, drift."""
