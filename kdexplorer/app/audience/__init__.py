"""The page Audience."""
