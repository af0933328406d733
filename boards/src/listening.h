/* SPDX-License-Identifier: MIT */
#ifndef HIL_LISTENING_H
#define HIL_LISTENING_H

#include "command.h"

void listening_begin(void); /* a stream, by what was loaded to listen by */
void hil_listen(const struct command *command);

#endif
