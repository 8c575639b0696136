"""The live page: one or two models, a picture and its corrupted copy, and where a point looks."""
