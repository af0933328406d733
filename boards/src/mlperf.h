/* SPDX-License-Identifier: MIT */
#ifndef HIL_MLPERF_H
#define HIL_MLPERF_H

#include "command.h"

void mlperf_boot(void);
bool mlperf_command(const struct command *command); /* false: not one of MLPerf Tiny's */

#endif
