"""A real node: kubelet, container runtime and network policies in namespaces of their own, for job pods that really run."""
