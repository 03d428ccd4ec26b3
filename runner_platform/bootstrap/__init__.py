"""From an empty organisation to the first `up`: what is checked, what is made, and where the state goes."""
