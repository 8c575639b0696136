"""Pictures in, label maps and overlays out."""
