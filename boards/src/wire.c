/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <string.h>

#include "crc32.h"
#include "hal.h"

static uint32_t line_crc; /* of the line so far */
static uint32_t records;  /* sent in answer to this command */

static void put(const char *text, size_t bytes)
{
    line_crc = crc32(line_crc, text, bytes);
    hal_write(text, bytes);
}

void wire_text(const char *text)
{
    put(text, strlen(text));
}

void wire_uint(uint32_t value)
{
    char digits[10];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    put(digits + first, sizeof digits - first);
}

void wire_int(int32_t value)
{
    if (value < 0)
        wire_text("-");
    wire_uint(value < 0 ? 0u - (uint32_t)value : (uint32_t)value);
}

void wire_hex(const void *data, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++) {
        const char pair[2] = {digits[at[i] >> 4], digits[at[i] & 15u]};
        put(pair, sizeof pair);
    }
}

void wire_hex32(uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    wire_hex(bytes, sizeof bytes);
}

void wire_shown(const char *text)
{
    for (; *text != '\0'; text++) {
        const char shown = *text >= ' ' && *text <= '~' ? *text : '?';
        put(&shown, 1);
    }
}

void wire_end(void)
{
    put("\r\n", 2);
    line_crc = 0;
}

void wire_line(const char *text)
{
    wire_text(text);
    wire_end();
}

void record_begin(const char *name)
{
    line_crc = 0;
    wire_text("m-hil-");
    wire_text(name);
}

void record_number(uint32_t value)
{
    wire_text("-");
    wire_uint(value);
}

void record_word(const char *text)
{
    wire_text("-");
    wire_text(text);
}

static void close_record(void)
{
    const uint32_t crc = line_crc;
    wire_text("*");
    wire_hex32(crc);
    wire_end();
}

void record_end(void)
{
    close_record();
    records++;
}

void record_busy(void)
{
    record_begin("busy");
    close_record();
}

void record_last(uint32_t command_crc)
{
    record_begin("end");
    record_number(records);
    wire_text("-");
    wire_hex32(command_crc);
    close_record();
}

void records_forget(void)
{
    records = 0;
}

void refuse_begin(void)
{
    wire_text("e-[");
}

void refuse_end(void)
{
    wire_text("]");
    wire_end();
}

void refuse(const char *reason)
{
    refuse_begin();
    wire_text(reason);
    refuse_end();
}
