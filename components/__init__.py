"""The platform's components: one noun a file, each a Pulumi component resource over documents from `components/documents`."""
