"""What GitLab shows of a run by itself: files in its formats, and Markdown."""
