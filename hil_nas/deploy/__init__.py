"""From a trained network to what runs on the device: .tflite, plan, C export, host reference.

Nothing here imports torch; TensorFlow and tflite_micro are imported only by the functions that use them.
"""
