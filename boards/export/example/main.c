/* SPDX-License-Identifier: MIT
 * An example: tells the words in a recording and, where the network hears whole clips, the scores of its beginning.
 *
 *   example AUDIO    mono audio of 16 bits at the rate that keywords_model.h says: a WAV file, or the bare samples
 *                    in a file whose name ends in .raw or .pcm
 *   example          a clip of noise, the same on every machine
 */
#include <stdio.h>
#include <string.h>

#include "keywords.h"

enum { PIECE_SAMPLES = 400 }; /* as a microphone's buffer would be */

static int16_t clip[KEYWORDS_SAMPLES]; /* what is missing at the end of a short recording is silence */
static int words;

/* When, how sure (its averaged posterior, 32768 for 1) and what. */
static void heard(void *user, const struct keywords_heard *word)
{
    (void)user;
    const unsigned ms = (unsigned)(word->samples * 1000 / KEYWORDS_SAMPLE_RATE_HZ);
    const unsigned sure = (unsigned)((word->posterior * UINT32_C(100000) + 16384) / 32768);
    printf("%6u.%03u s  %u.%05u  %s\n", ms / 1000, ms % 1000, sure / 100000, sure % 100000,
           keywords_labels[word->keyword]);
    words++;
}

static void fill_with_noise(void)
{
    uint32_t state = 1;
    for (int i = 0; i < KEYWORDS_SAMPLES; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
        clip[i] = (int16_t)((int32_t)(state >> 18) - 8192);
    }
}

static uint32_t little_endian(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

/* Moves to the samples of a WAV file; false for a format that the front end was not made for. */
static int find_samples(FILE *file)
{
    uint8_t head[8], format[16];
    int good = 0;
    fseek(file, 12, SEEK_SET);
    while (fread(head, 1, sizeof head, file) == sizeof head && memcmp(head, "data", 4) != 0) {
        const uint32_t bytes = little_endian(head + 4, 4);
        long behind = (long)(bytes + (bytes & 1u));
        if (memcmp(head, "fmt ", 4) == 0 && bytes >= sizeof format) {
            if (fread(format, 1, sizeof format, file) != sizeof format)
                return 0;
            behind -= (long)sizeof format;
            good = little_endian(format, 2) == 1 && little_endian(format + 2, 2) == 1 &&
                   little_endian(format + 4, 4) == KEYWORDS_SAMPLE_RATE_HZ && little_endian(format + 14, 2) == 16;
        }
        if (fseek(file, behind, SEEK_CUR) != 0)
            return 0;
    }
    return good && memcmp(head, "data", 4) == 0;
}

static int is_bare(const char *name)
{
    const size_t length = strlen(name);
    return length > 4 && (strcmp(name + length - 4, ".raw") == 0 || strcmp(name + length - 4, ".pcm") == 0);
}

static const char *listen_to(const char *name)
{
    uint8_t head[12] = {0}, bytes[2 * PIECE_SAMPLES];
    int16_t samples[PIECE_SAMPLES];
    size_t at = 0, count;
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return "cannot be opened";
    const int is_wav = fread(head, 1, sizeof head, file) == sizeof head && memcmp(head, "RIFF", 4) == 0 &&
                       memcmp(head + 8, "WAVE", 4) == 0;
    if (!is_wav && is_bare(name))
        rewind(file);
    else if (!is_wav) {
        fclose(file);
        return "is no WAV file; bare samples are taken from a name that ends in .raw or .pcm";
    } else if (!find_samples(file)) {
        fclose(file);
        return "is a WAV file, but not of the front end's sample rate, mono, 16 bits";
    }
    while ((count = fread(bytes, 2, PIECE_SAMPLES, file)) > 0) {
        for (size_t i = 0; i < count; i++, at++) {
            samples[i] = (int16_t)(uint16_t)little_endian(bytes + 2 * i, 2);
            if (at < KEYWORDS_SAMPLES)
                clip[at] = samples[i];
        }
        if (keywords_push(samples, count) != 0)
            break;
    }
    fclose(file);
    return NULL;
}

static int show_scores(void)
{
#if KEYWORDS_STREAM
    return 0;
#else
    int8_t scores[KEYWORDS_CLASSES];
    const int best = keywords_classify(clip, scores);
    printf("the scores of its first %u ms, -128 to 127:\n", KEYWORDS_SAMPLES * 1000u / KEYWORDS_SAMPLE_RATE_HZ);
    for (int i = 0; i < KEYWORDS_CLASSES; i++)
        printf("%4d  %s%s\n", scores[i], keywords_labels[i], i == best ? "  <-" : "");
    return best < 0;
#endif
}

int main(int argc, char **argv)
{
    const char *fault = keywords_start(heard, NULL);
    if (fault != NULL) {
        printf("the model cannot be used: %s\n", fault);
        return 1;
    }
    if (argc > 1)
        fault = listen_to(argv[1]);
    else {
        fill_with_noise();
        keywords_push(clip, KEYWORDS_SAMPLES);
    }
    if (fault != NULL) {
        printf("%s %s\n", argv[1], fault);
        return 1;
    }
    if (words == 0)
        printf("no word was heard\n");
    return show_scores();
}
