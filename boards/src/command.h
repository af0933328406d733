/* SPDX-License-Identifier: MIT
 * A command as it came, split into words, and what words are read as.
 */
#ifndef HIL_COMMAND_H
#define HIL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMMAND_BYTES 80u /* MLPerf Tiny's EE_CMD_SIZE, with the terminator */
#define MAX_WORDS 8

struct command {
    const char *words[MAX_WORDS]; /* words[count] and later are "" */
    int count;
    uint32_t crc;                 /* of the text as received, without '*' and what follows */
};

/* Splits a line in place, behind its `*<crc32>` where it has one; NULL, or why it is refused. */
const char *command_parse(char *line, struct command *command);

/* A decimal number from low to high; false for anything else. */
bool parse_uint(const char *word, uint32_t low, uint32_t high, uint32_t *value);
bool parse_hex32(const char *word, uint32_t *value); /* exactly eight lower-case digits */
bool parse_hex_byte(const char *digits, uint8_t *value); /* two digits of either case */
bool same(const char *a, const char *b);

#endif
