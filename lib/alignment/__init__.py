"""Two views in one space: small heads on frozen, stored features of pairs."""
