"""The supervisor: the long-lived process of a sandbox that starts servers and clusters, restarts and stops them."""
