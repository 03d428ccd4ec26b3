"""Kubernetes on one machine: the real control plane, and small loops for what EKS Auto Mode and kubelets do."""
