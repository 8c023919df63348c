"""Networks as ONNX files, made by ``tools/make_models.py``."""
