/* SPDX-License-Identifier: MIT
 * CRC-32 as IEEE 802.3 and zlib have it.
 */
#ifndef HIL_CRC32_H
#define HIL_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what `crc` covers followed by `bytes` of `data`; begin with 0. */
uint32_t crc32(uint32_t crc, const void *data, size_t bytes);

#endif
