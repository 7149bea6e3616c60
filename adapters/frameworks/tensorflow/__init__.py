"""TensorFlow: tf.function, eager, and tf.function compiled by XLA, on the CPU and on CUDA."""
