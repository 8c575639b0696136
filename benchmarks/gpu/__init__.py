"""What ``benchmarks/gpu.sh`` runs: the layers' accuracy and cost on one device, with torch and timm alone."""
