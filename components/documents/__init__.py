"""Documents: pure functions over plain values. No Pulumi, no network, no files; every function is tested by a table.

A module that serves one component has the component's name. The others:

- `statements`: the grammar of policy documents; `trust`: who may assume a role, and the permission on the other side
- `capabilities`: permissions of delegated roles; `boundary`: their ceiling; `platform_roles`: deployer and reader
- `storage`: policies of buckets and keys; `profiles`: AWS config files
- `helm_values`, `config_toml`, `job_identity`, `namespaces`, `network_policies`: a runner class inside the cluster
- `pods`, `disruption`: requests and times of jobs, which nodes, quotas and the runner's configuration follow from
- `checks`: rules of settings that need arithmetic
"""
