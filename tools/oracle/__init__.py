"""Makes reference models and reference answers with Hugging Face transformers (float32, CPU).

The scripts in tools/ use these modules; the product and its tests only read the files they write.
"""
