/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <string.h>

#include "crc32.h"

bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool parse_uint(const char *word, uint32_t low, uint32_t high, uint32_t *value)
{
    uint64_t number = 0;
    const size_t digits = strlen(word);
    if (digits == 0 || digits > 10)
        return false;
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9')
            return false;
        number = number * 10u + (uint32_t)(*word - '0');
    }
    *value = (uint32_t)number;
    return number >= low && number <= high;
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

bool parse_hex_byte(const char *digits, uint8_t *value)
{
    const int high = hex_digit(digits[0]), low = high < 0 ? -1 : hex_digit(digits[1]);
    *value = (uint8_t)(high * 16 + low);
    return low >= 0;
}

bool parse_hex32(const char *word, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 8; i++) {
        const int digit = word[i] >= 'A' && word[i] <= 'F' ? -1 : hex_digit(word[i]);
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return word[8] == '\0';
}

static bool split(char *line, struct command *command)
{
    for (int i = 0; i < MAX_WORDS; i++)
        command->words[i] = "";
    command->count = 0;
    for (;;) {
        while (*line == ' ')
            *line++ = '\0';
        if (*line == '\0')
            return true;
        if (command->count == MAX_WORDS - 1)
            return false;
        command->words[command->count++] = line;
        while (*line != ' ' && *line != '\0')
            line++;
    }
}

/* Takes `*<crc32>` off; false where it is there and wrong. */
static bool crc_good(char *line, uint32_t *crc)
{
    char *star = strchr(line, '*');
    uint32_t expected = 0;
    if (star == NULL) {
        *crc = crc32(0, line, strlen(line));
        return true;
    }
    *star = '\0';
    *crc = crc32(0, line, strlen(line));
    return parse_hex32(star + 1, &expected) && expected == *crc;
}

const char *command_parse(char *line, struct command *command)
{
    if (!crc_good(line, &command->crc))
        return "the command's CRC is wrong";
    return split(line, command) ? NULL : "too many words";
}
