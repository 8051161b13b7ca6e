/* SPDX-License-Identifier: MIT */
/* Purpose: the drivers that vio has, by type of device. Where it sits: cli/; a const table. */
#ifndef VIO_CLI_DRIVERS_H
#define VIO_CLI_DRIVERS_H

#include <vio/driver.h>

/* The driver of a type; of one that has none, and of 0, the generic one. */
const struct vio_driver *drivers_find(uint32_t type);

#endif
