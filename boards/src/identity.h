/* SPDX-License-Identifier: MIT
 * What the build says about itself; the only source that is compiled with it, so that a changed id recompiles one file.
 */
#ifndef HIL_IDENTITY_H
#define HIL_IDENTITY_H

extern const char identity_build[];    /* of the whole image */
extern const char identity_kernels[];  /* of what is measured: kernels, engine, front end, clocks, compiler, flags */
extern const char identity_versions[]; /* third-party sources and compiler */

#endif
