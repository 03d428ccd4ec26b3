"""The stand-in for GitLab: the runner endpoints of its API and the keys of its ID tokens, on loopback."""
