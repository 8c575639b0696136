"""A trained model as one ONNX file, with a proof that it is the same model. ``export.export_onnx`` does it all."""
