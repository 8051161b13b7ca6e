/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what is found, and what is done with each type of device. Where it sits: between main.c, which calls, and a file for
 * each. Threads: one. Trust: see vio/drv_*.h; what lies on a disk is checked where it is read.
 */
#ifndef VIO_BAREMETAL_DEVICES_H
#define VIO_BAREMETAL_DEVICES_H

#include <vio/driver.h>

#include "machine.h"

/* Longer than any device here takes for one request. */
#define PATIENCE_NS UINT64_C(5000000000)

/* ------------------------------------------------------------------ finding them */

/* Puts each device of this machine on the bus. legacy: by the legacy interface, where a PCI device has both. */
void find_devices(const struct machine *machine, struct vio_bus *bus, bool legacy);

/* ------------------------------------------------------------------ using them; the arguments are the machine's */

void use_disk(struct vio_drvdev *d, const char *arguments);    /* disk.c */
void use_scsi(struct vio_drvdev *d, const char *arguments);    /* disk.c */
void use_network(struct vio_drvdev *d, const char *arguments); /* network.c */
void use_console(struct vio_drvdev *d, const char *arguments); /* small.c */
void use_entropy(struct vio_drvdev *d, const char *arguments); /* small.c */
void use_balloon(struct vio_drvdev *d, const char *arguments); /* small.c */

struct vio_net_buf;
/* A card's queue has used buffers: with events=on. */
void network_used(void *ctx, struct vio_drvdev *d, uint16_t queue);
/* A buffer that a card had when it was reset; and all buffers, when no card is left. */
void network_lost(void *ctx, struct vio_drvdev *d, uint16_t queue, struct vio_net_buf *buf);
void network_end(void);

#endif
