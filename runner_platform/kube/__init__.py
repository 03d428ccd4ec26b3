"""The API server of a stack's cluster: a small client, and the token that the exec plugin prints."""
