/* SPDX-License-Identifier: MIT
 * Collects a command up to its '%' and carries it out; one at a time, and `m-ready` ends every answer.
 */
#include <string.h>

#include "command.h"
#include "hal.h"
#include "hil.h"
#include "mlperf.h"
#include "wire.h"

static char text[COMMAND_BYTES];

static void execute(char *line)
{
    struct command command;
    char unknown[COMMAND_BYTES];
    strcpy(unknown, line);
    records_forget();
    const char *reason = command_parse(line, &command);
    if (reason != NULL) {
        refuse(reason);
    } else if (same(command.words[0], "hil")) {
        hil_command(&command);
    } else if (!mlperf_command(&command)) {
        refuse_begin();
        wire_text("Unknown command: ");
        wire_shown(unknown);
        refuse_end();
    }
}

static char wait_for_byte(void)
{
    for (;;) {
        const int byte = hal_getc();
        if (byte >= 0)
            return (char)byte;
    }
}

int main(void)
{
    size_t length = 0;
    bool too_long = false;
    hal_init();
    mlperf_boot();
    for (;;) {
        wire_line("m-ready");
        length = 0;
        too_long = false;
        for (char byte = wait_for_byte(); byte != '%'; byte = wait_for_byte()) {
            if (byte == '\r' || byte == '\n' || byte == '\0')
                continue; /* a terminal's line ends */
            if (length + 1 < sizeof text)
                text[length++] = byte;
            else
                too_long = true;
        }
        text[length] = '\0';
        if (too_long)
            refuse("a command is at most 79 characters");
        else
            execute(text);
    }
}
