// SPDX-License-Identifier: MIT
// Says on the serial port which words were heard. readMicrophone() is the board's own: fill it in.
#include <keywords.h>

static int16_t samples[KEYWORDS_SAMPLE_RATE_HZ / 50];  // 20 ms

static void heard(void *, const struct keywords_heard *word) {
  Serial.println(keywords_labels[word->keyword]);
}

// Waits for so many samples at KEYWORDS_SAMPLE_RATE_HZ, mono, 16 bits; how many came. Here: none.
static size_t readMicrophone(int16_t *, size_t) {
  return 0;
}

void setup() {
  Serial.begin(115200);
  const char *fault = keywords_start(heard, nullptr);
  if (fault != nullptr) {
    Serial.println(fault);
  }
}

void loop() {
  const size_t count = readMicrophone(samples, sizeof samples / sizeof samples[0]);
  keywords_push(samples, count);
}
