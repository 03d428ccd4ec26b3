"""Programs under mocks, and the policy pack's findings on their resources."""
