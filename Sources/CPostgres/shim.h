// clipbridge
// SPDX-License-Identifier: Apache-2.0

// libpq is not variadic, so it needs no wrappers.

#ifndef CLIPBRIDGE_CPOSTGRES_SHIM_H
#define CLIPBRIDGE_CPOSTGRES_SHIM_H

#include <libpq-fe.h>
#include <pg_config.h>

#if PG_VERSION_NUM < 150000
#error "clipbridge needs libpq 15 or newer (Debian: libpq-dev)"
#endif

#endif
