/* SPDX-License-Identifier: MIT */
#ifndef HIL_PLAN_CHECK_H
#define HIL_PLAN_CHECK_H

#include "engine.h"

/* The whole of a plan, before anything of it is used. Reads nothing at or behind blob + blob_bytes. */
struct engine_fault plan_check(const void *blob, size_t blob_bytes, size_t arena_available);

#endif
