"""From a stream of audio to the words that were heard in it, through the device's own C; and how often that errs."""
