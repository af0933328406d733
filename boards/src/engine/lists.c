/* SPDX-License-Identifier: MIT
 * The lists of kernels that the build has chosen, as -DKERNEL_LISTS='LIST(cmsis_nn) LIST(plain)', and the name that
 * the engine has with them.
 */
#include "engine.h"
#include "kernel.h"

#define LIST(name) extern const struct kernel_list name##_kernels;
KERNEL_LISTS
#undef LIST

#define LIST(name) &name##_kernels,
const struct kernel_list *const kernel_lists[] = {KERNEL_LISTS NULL};

const char *engine_name(void)
{
    return ENGINE_NAME;
}
