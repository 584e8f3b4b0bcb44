"""The verbs for endpoints: deploy one, look at it, change it, take it away."""
