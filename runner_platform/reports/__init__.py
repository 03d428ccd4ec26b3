"""Reports of a run: files in the formats that GitLab shows on a merge request, and Markdown."""
