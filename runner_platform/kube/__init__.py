"""Requests to the API server of a stack's cluster, and the token that the exec plugin prints."""
