/* SPDX-License-Identifier: MIT
 * The MLPerf Tiny serial protocol (mlcommons/tiny, benchmark/api at 1afd2c98), so that the standard runner drives
 * the board. Where the original goes on after an error, this refuses and stops: an input that is too large,
 * incomplete or of the wrong size is an `e-[...]`, and no byte is ever written behind the buffer. Results above 1
 * and below 0 are written as they are.
 */
#include "mlperf.h"

#include <string.h>

#include "hal.h"
#include "measure.h"
#include "slots.h"
#include "wire.h"

#define FIRMWARE_VERSION "ULPMark for tinyML Firmware V0.0.1"
#define DEFAULT_RUNS 1u
#define DEFAULT_WARMUPS 10u
#define MAX_ITERATIONS 1000000u

static size_t expected_bytes, received_bytes; /* of a `db load` in progress */

static void lap(void)
{
    wire_text("m-lap-us-");
    wire_uint(hal_micros());
    wire_end();
}

void mlperf_boot(void)
{
    wire_line("m-timestamp-mode-performance");
    lap();
    wire_line("m-init-done");
}

static void say_profile(void)
{
    wire_line("m-profile-[" FIRMWARE_VERSION "]");
    wire_line("m-model-[kws01]");
}

static void say_help(void)
{
    static const char *const lines[] = {
        FIRMWARE_VERSION,
        "",
        "MLPerf Tiny:",
        "  name, profile, timestamp, help, results",
        "  db load N    expect N bytes of input",
        "  db HH..      the next bytes, as hex digits",
        "  db print     the input",
        "  infer N W    W warm-ups (10), then N inferences",
        "hil_nas (a CRC-32 may follow, as *<8 hex digits>):",
        "  hil id, hil memory, hil listen, hil clear, hil reset",
        "  hil load plan|frontend|audio|input|listen ram|flash BYTES CRC32",
        "  hil unload plan|frontend",
        "  hil run network|step|frontend|all WARMUPS RUNS",
        "  hil read features|input|output",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        wire_line(lines[i]);
}

static void db_load(const char *size)
{
    uint32_t bytes = 0;
    expected_bytes = received_bytes = 0;
    input_set(0);
    if (*size == '\0') {
        refuse("Command 'db load' requires the # of bytes");
    } else if (!parse_uint(size, 1, UINT32_MAX, &bytes)) {
        refuse("Command 'db load' must be >0 bytes");
    } else if (bytes > MAX_INPUT_BYTES) {
        refuse_begin();
        wire_text("Supplied buffer size ");
        wire_uint(bytes);
        wire_text(" exceeds maximum of ");
        wire_uint(MAX_INPUT_BYTES);
        refuse_end();
    } else {
        expected_bytes = bytes;
        wire_text("m-[Expecting ");
        wire_uint(bytes);
        wire_line(" bytes]");
    }
}

static bool hex_good(const char *digits)
{
    uint8_t byte = 0;
    if (strlen(digits) % 2 != 0) {
        refuse("Insufficent number of hex digits"); /* the runner knows it in this spelling */
        return false;
    }
    for (; *digits != '\0'; digits += 2) {
        if (!parse_hex_byte(digits, &byte)) {
            const char pair[3] = {digits[0], digits[1], '\0'};
            refuse_begin();
            wire_text("Invalid hex digit '");
            wire_shown(pair);
            wire_text("'");
            refuse_end();
            return false;
        }
    }
    return true;
}

static void db_data(const char *digits)
{
    if (!hex_good(digits))
        return; /* nothing of the line was taken, it can be sent again */
    if (expected_bytes == 0 || input_bytes() != 0) { /* none, or `hil load input` came between */
        refuse("no 'db load' in progress");
        return;
    }
    for (; *digits != '\0' && received_bytes < expected_bytes; digits += 2)
        (void)parse_hex_byte(digits, (uint8_t *)input_buffer() + received_bytes++);
    if (received_bytes == expected_bytes) {
        input_set(expected_bytes);
        expected_bytes = 0;
        wire_line("m-load-done");
    }
}

static void db_print(void)
{
    for (size_t i = 0; i < input_bytes(); i += 8) {
        wire_text("m-buffer");
        for (size_t j = i; j < i + 8 && j < input_bytes(); j++) {
            wire_text("-");
            wire_hex(input_buffer() + j, 1);
        }
        wire_end();
    }
}

static void db(const struct command *command)
{
    const char *what = command->words[1];
    if (*what == '\0')
        refuse("Command 'db' requires a subcommand");
    else if (same(what, "load"))
        db_load(command->words[2]);
    else if (same(what, "print"))
        db_print();
    else
        db_data(what);
}

/* Three decimals, cut off; with a softmax's scale of 1/256 they still tell every int8 value apart. */
static void say_value(float value)
{
    const float limit = 2.0e6f;
    const float bounded = value > limit ? limit : value < -limit ? -limit : value;
    const int32_t thousandths = (int32_t)(bounded * 1000.0f);
    const uint32_t magnitude = thousandths < 0 ? 0u - (uint32_t)thousandths : (uint32_t)thousandths;
    if (thousandths < 0)
        wire_text("-");
    wire_uint(magnitude / 1000u);
    wire_text(".");
    wire_uint(magnitude / 100u % 10u);
    wire_uint(magnitude / 10u % 10u);
    wire_uint(magnitude % 10u);
}

static void say_results(void)
{
    const struct engine_model *model = &network.model;
    if (network.blob.data == NULL || !network.output_valid) {
        refuse(network.blob.data == NULL ? "no model loaded" : "nothing has been inferred");
        return;
    }
    wire_text("m-results-[");
    for (uint32_t i = 0; i < model->output_bytes; i++) {
        if (i > 0)
            wire_text(",");
        say_value((float)(model->output[i] - model->output_zero_point) * model->output_scale);
    }
    wire_line("]");
}

static void say_count(const char *name, uint32_t count)
{
    wire_text(name);
    wire_uint(count);
    wire_end();
}

static void infer(uint32_t runs, uint32_t warmups)
{
    say_count("m-warmup-start-", warmups);
    bool good = true;
    for (uint32_t i = 0; i < warmups && good; i++)
        good = infer_once();
    wire_line("m-warmup-done");
    say_count("m-infer-start-", runs);
    hal_cycles_enable(true);
    lap();
    for (uint32_t i = 0; i < runs && good; i++)
        good = infer_once();
    lap();
    hal_cycles_enable(false);
    wire_line("m-infer-done");
    if (good)
        say_results();
    else
        refuse("a kernel refused its arguments");
}

static void infer_command(const struct command *command)
{
    uint32_t runs = DEFAULT_RUNS, warmups = DEFAULT_WARMUPS;
    if (command->count > 1 && !parse_uint(command->words[1], 1, MAX_ITERATIONS, &runs)) {
        refuse("Inference iterations must be >0");
    } else if (command->count > 2 && !parse_uint(command->words[2], 0, MAX_ITERATIONS, &warmups)) {
        refuse("Inference warmup must be >=0");
    } else if (network.blob.data == NULL) {
        refuse("no model loaded");
    } else if (input_bytes() != network.model.input_bytes) {
        refuse_begin();
        wire_text("Input db has ");
        wire_uint((uint32_t)input_bytes());
        wire_text(" elements, expected ");
        wire_uint(network.model.input_bytes);
        refuse_end();
    } else {
        infer(runs, warmups);
    }
}

bool mlperf_command(const struct command *command)
{
    const char *verb = command->words[0];
    if (same(verb, "name"))
        wire_line("m-name-dut-[hil-nas]");
    else if (same(verb, "profile"))
        say_profile();
    else if (same(verb, "timestamp"))
        lap();
    else if (same(verb, "help"))
        say_help();
    else if (same(verb, "db"))
        db(command);
    else if (same(verb, "infer"))
        infer_command(command);
    else if (same(verb, "results"))
        say_results();
    else
        return false;
    return true;
}
