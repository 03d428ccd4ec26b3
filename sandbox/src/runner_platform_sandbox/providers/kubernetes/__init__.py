"""The stand-in for Pulumi's `kubernetes` plugin: objects by server-side apply, releases by the real Helm."""
