"""`runner-platform sandbox run`: a folder's pipeline by the sandbox's GitLab and the real runners of a deployed stack."""
