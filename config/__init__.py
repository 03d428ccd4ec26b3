"""Settings of the stacks, and the names, tags and pinned versions that follow from them. Nothing here makes a resource.

- `capabilities`: trust levels, and the capabilities that an account can give them (start here to add a capability)
- `sections`: the objects of a stack file, one model each
- `settings`, `foundation`: a parsed stack file of the platform, and of the foundation
- `checks`: rules between the objects of one file; `between_stacks`: rules between files; `chart_archive`: a packaged chart
- `load`: where settings come from; `secrets`: runner tokens; `errors`: how problems are reported
- `names`, `tags`, `versions`, `instance_types`, `machine_types`, `quantities`: values that components and documents share
"""
