"""Documents of classes whose manager is an EC2 instance: user data, the runner's configuration, roles, and names."""
