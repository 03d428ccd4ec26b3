"""What an existing GitLab runner's configuration would be here, for `runner-platform import`.

- `reading`: a `config.toml` as its keys and values
- `answers`, `section_answers`, `kubernetes_answers`, `machine_options`: what becomes of each key, by its name
- `classes`: the runner class that replaces a `[[runners]]`, and where its values come from
- `imported`: both together; `text`: as people read it
"""
