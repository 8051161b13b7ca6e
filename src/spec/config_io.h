/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a device's configuration through registers: each access as wide as the field is, as a bus demands it (virtio
 * 1.4, 4.1.3.1, 4.2.2.2). Where it sits: spec/, freestanding; the layouts of the device types' configurations by width.
 * Threads: any. Trust: ranges are the caller's, checked; the bytes are the device's.
 */
#ifndef VIO_SPEC_CONFIG_IO_H
#define VIO_SPEC_CONFIG_IO_H

#include <vio/io.h>

/*
 * The width, 1, 2 or 4, of the next access for `len` bytes (not 0) from `offset` of the configuration of a device of this
 * type. 64-bit fields are two accesses of 4. A type or a field that the table does not have: as aligned as it is.
 */
unsigned virtio_config_step(uint32_t type, uint32_t offset, uint32_t len);

/* io: where the configuration begins. Bytes come and go as they lie in it. */
void virtio_config_get(struct vio_io io, uint32_t type, uint32_t offset, uint8_t *to, uint32_t len);
void virtio_config_put(struct vio_io io, uint32_t type, uint32_t offset, const uint8_t *from, uint32_t len);
/* For legacy devices, that have no generation: until it reads the same twice (virtio 1.4, 2.5.4); false: it never did. */
bool virtio_config_get_stable(struct vio_io io, uint32_t type, uint32_t offset, uint8_t *to, uint32_t len) VIO_MUST_CHECK;

#endif
