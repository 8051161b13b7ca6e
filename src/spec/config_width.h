/* SPDX-License-Identifier: MIT */
/*
 * Purpose: how wide the fields of each device type's configuration are (virtio 1.4, 5), for a bus where an access must be
 * as wide as the field (4.1.3.1, 4.2.2.2). Where it sits: spec/, freestanding.
 */
#ifndef VIO_SPEC_CONFIG_WIDTH_H
#define VIO_SPEC_CONFIG_WIDTH_H

#include <vio/types.h>

/*
 * The width, 1, 2 or 4, of the next access for `len` bytes (not 0) from `offset` of the configuration of a device of this
 * type. 64-bit fields are two accesses of 4. A type or a field that the table does not have: as aligned as it is.
 */
unsigned virtio_config_step(uint32_t type, uint32_t offset, uint32_t len);

#endif
