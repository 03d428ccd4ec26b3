"""What runs on the platform's EC2 instances; not part of the programs that build them."""
