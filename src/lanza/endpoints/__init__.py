"""Endpoints: what is wanted of them, what is seen of them, and the loop that brings one to the other."""
