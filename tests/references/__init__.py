"""Plain references: independent, straight implementations that the fast ones are held against."""
