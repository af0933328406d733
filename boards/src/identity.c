/* SPDX-License-Identifier: MIT */
#include "identity.h"

const char identity_build[] = HIL_BUILD_ID;
const char identity_kernels[] = HIL_KERNELS_ID;
const char identity_versions[] = HIL_VERSIONS;
