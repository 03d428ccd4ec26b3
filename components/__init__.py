"""The platform's components: each file holds one noun, a Pulumi component resource over documents from `components/documents`.

- `account_access`: all roles that a stack makes in one account: `delegated_role` for jobs, `gitlab_role` for GitLab's ID tokens;
  `capabilities` attaches their permissions
- `runner`: a runner class from end to end: `node_pool`, `runner_identity` (AWS roles), `runner_object` (the runner in GitLab) and
  `runner_class` (namespaces and Helm release)
- `cluster`, `network`, `registry`, `job_cache`, `alarms`: what all classes share
- `platform_access`, `state_store`, `secrets_key`: the foundation
- `private_bucket`, `providers`, `guard`: used by several of the above
"""
