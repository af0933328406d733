"""The container of a TensorFlow Lite model: its tables, its schema, and files that are none."""
