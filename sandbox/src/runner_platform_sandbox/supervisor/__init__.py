"""The long-lived process of a sandbox: it starts the servers and clusters, keeps them alive and stops them."""
