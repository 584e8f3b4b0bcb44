"""The gateway: from a request for an endpoint to a replica and back."""
