/* SPDX-License-Identifier: MIT */
#ifndef HIL_UPLOAD_H
#define HIL_UPLOAD_H

#include "command.h"

void hil_load(const struct command *command);

#endif
