/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the console device's wire layout and constants (virtio 1.4, 5.3). Where it sits: spec/.
 */
#ifndef VIO_SPEC_CONSOLE_H
#define VIO_SPEC_CONSOLE_H

#include <vio/types.h>

/* virtio 1.4, 5.3.2: queues; port 0 has 0 and 1, port n > 0 has 2n + 2 and 2n + 3 */
#define VIRTIO_CONSOLE_RX 0u
#define VIRTIO_CONSOLE_TX 1u
#define VIRTIO_CONSOLE_CONTROL_RX 2u
#define VIRTIO_CONSOLE_CONTROL_TX 3u

/* virtio 1.4, 5.3.3: feature bits */
#define VIRTIO_CONSOLE_F_SIZE 0
#define VIRTIO_CONSOLE_F_MULTIPORT 1
#define VIRTIO_CONSOLE_F_EMERG_WRITE 2

/* virtio 1.4, 5.3.4: device configuration */
struct virtio_console_config {
    vio_le16 cols;
    vio_le16 rows;
    vio_le32 max_nr_ports;
    vio_le32 emerg_wr;
};
_Static_assert(sizeof(struct virtio_console_config) == 12, "virtio 1.4, 5.3.4");

/* virtio 1.4, 5.3.6.2: control messages */
struct virtio_console_control {
    vio_le32 id;
    vio_le16 event;
    vio_le16 value;
};
_Static_assert(sizeof(struct virtio_console_control) == 8, "virtio 1.4, 5.3.6.2");

#define VIRTIO_CONSOLE_DEVICE_READY 0u
#define VIRTIO_CONSOLE_DEVICE_ADD 1u
#define VIRTIO_CONSOLE_DEVICE_REMOVE 2u
#define VIRTIO_CONSOLE_PORT_READY 3u
#define VIRTIO_CONSOLE_CONSOLE_PORT 4u
#define VIRTIO_CONSOLE_RESIZE 5u
#define VIRTIO_CONSOLE_PORT_OPEN 6u
#define VIRTIO_CONSOLE_PORT_NAME 7u

struct virtio_console_resize { /* behind the message RESIZE */
    vio_le16 cols;
    vio_le16 rows;
};
_Static_assert(sizeof(struct virtio_console_resize) == 4, "virtio 1.4, 5.3.6.2");

#endif
