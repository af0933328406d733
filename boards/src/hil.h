/* SPDX-License-Identifier: MIT */
#ifndef HIL_HIL_H
#define HIL_HIL_H

#include "command.h"

void hil_command(const struct command *command); /* its first word is `hil` */

#endif
