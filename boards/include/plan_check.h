/* SPDX-License-Identifier: MIT */
#ifndef HIL_PLAN_CHECK_H
#define HIL_PLAN_CHECK_H

#include "engine.h"
#include "plan.h"

/* The whole of a plan, before anything of it is used. Reads nothing at or behind blob + blob_bytes. */
struct engine_fault plan_check(const void *blob, size_t blob_bytes, size_t arena_available);

/* What the engine's kernel for an operator asks for; the operator's shapes have been checked. */
uint32_t plan_scratch_bytes(const struct plan_op *op);

#endif
