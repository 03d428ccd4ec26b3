"""Stand-ins for Pulumi's provider plugins: the real engine and the real SDKs on one side, the sandbox on the other."""
