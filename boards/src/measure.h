/* SPDX-License-Identifier: MIT */
#ifndef HIL_MEASURE_H
#define HIL_MEASURE_H

#include "command.h"

/* The network on what stands in the input buffer; false where a kernel refused its arguments. */
bool infer_once(void);

void hil_run(const struct command *command);

#endif
