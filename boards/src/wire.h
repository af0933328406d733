/* SPDX-License-Identifier: MIT
 * Lines out: MLPerf Tiny's and ours. Nothing is formatted into a buffer, so no line is too long for one.
 */
#ifndef HIL_WIRE_H
#define HIL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void wire_text(const char *text);
void wire_uint(uint32_t value);
void wire_int(int32_t value);
void wire_hex(const void *data, size_t bytes); /* two lower-case digits a byte */
void wire_hex32(uint32_t value);               /* eight digits */
void wire_shown(const char *text);             /* what a host sent, with '?' for all that is not printable */
void wire_end(void);                           /* CR LF */
void wire_line(const char *text);              /* a whole line */

/* A record of ours: `m-hil-<text>*<crc32>`; records are counted until record_last(). */
void record_begin(const char *name);
void record_number(uint32_t value);            /* `-<value>` */
void record_word(const char *text);            /* `-<text>` */
void record_end(void);
void record_busy(void);                        /* the heartbeat; not counted */
void record_last(uint32_t command_crc);        /* `end-<records>-<crc>` */
void records_forget(void);                     /* a command begins */

/* `e-[<reason>]`, the only way in which a command is refused. */
void refuse(const char *reason);
void refuse_begin(void);
void refuse_end(void);

#endif
