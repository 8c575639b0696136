"""Many runs that answer one question: variants of a config, several seeds, what is measured, and how sure it is."""
