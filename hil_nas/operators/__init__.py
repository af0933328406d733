"""One table of operators: what each is in a network, in a .tflite and in a plan. No torch."""
