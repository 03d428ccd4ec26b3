"""What a branch changes: resources, access, costs, and the note of its merge request."""
