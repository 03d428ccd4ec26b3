"""GitLab's reader of pipeline files: the module `reader` turns a `.gitlab-ci.yml` into the jobs of one pipeline."""
