/* SPDX-License-Identifier: MIT */
/*
 * Purpose: virtio over PCI (virtio 1.4, 4.1), and what it needs of PCI's own configuration space. Where it sits: spec/. No
 * code, freestanding.
 */
#ifndef VIO_SPEC_PCI_H
#define VIO_SPEC_PCI_H

/* PCI's header, type 0 */
#define PCI_VENDOR_ID 0x00u
#define PCI_DEVICE_ID 0x02u
#define PCI_COMMAND 0x04u
#define PCI_COMMAND_IO 1u
#define PCI_COMMAND_MEMORY 2u
#define PCI_COMMAND_MASTER 4u
#define PCI_COMMAND_NO_INTX 0x400u
#define PCI_STATUS 0x06u
#define PCI_STATUS_CAP_LIST 0x10u
#define PCI_REVISION 0x08u
#define PCI_HEADER_TYPE 0x0eu
#define PCI_BAR(n) (0x10u + 4u * (n))
#define PCI_SUBSYSTEM_ID 0x2eu
#define PCI_CAP_POINTER 0x34u
#define PCI_CONFIG_BYTES 256u
#define PCI_CAP_FIRST 0x40u /* no capability lies in the header */

#define PCI_CAP_ID_VENDOR 0x09u
#define PCI_CAP_ID_MSIX 0x11u
#define PCI_MSIX_CONTROL 2u
#define PCI_MSIX_ENABLE 0x8000u
#define PCI_MSIX_SIZE_MASK 0x7ffu /* entries of the table, less one */

/* virtio 1.4, 4.1.2 */
#define VIRTIO_PCI_VENDOR 0x1af4u
#define VIRTIO_PCI_DEVICE_FIRST 0x1000u
#define VIRTIO_PCI_DEVICE_MODERN 0x1040u /* plus the type */
#define VIRTIO_PCI_DEVICE_LAST 0x107fu

/* virtio 1.4, 4.1.4: struct virtio_pci_cap */
#define VIRTIO_PCI_CAP_LEN 2u
#define VIRTIO_PCI_CAP_TYPE 3u
#define VIRTIO_PCI_CAP_BAR 4u
#define VIRTIO_PCI_CAP_ID 5u
#define VIRTIO_PCI_CAP_OFFSET 8u
#define VIRTIO_PCI_CAP_LENGTH 12u
#define VIRTIO_PCI_CAP_BYTES 16u
#define VIRTIO_PCI_CAP_MULTIPLIER 16u /* of NOTIFY_CFG */
#define VIRTIO_PCI_CAP_DATA 16u       /* of PCI_CFG */
#define VIRTIO_PCI_CAP_OFFSET_HI 16u  /* of SHARED_MEMORY_CFG */
#define VIRTIO_PCI_CAP_LENGTH_HI 20u

#define VIRTIO_PCI_CAP_COMMON 1u
#define VIRTIO_PCI_CAP_NOTIFY 2u
#define VIRTIO_PCI_CAP_ISR 3u
#define VIRTIO_PCI_CAP_DEVICE 4u
#define VIRTIO_PCI_CAP_WINDOW 5u /* PCI_CFG */
#define VIRTIO_PCI_CAP_SHARED_MEMORY 8u

/* virtio 1.4, 4.1.4.3: struct virtio_pci_common_cfg */
#define VIRTIO_PCI_DEVICE_FEATURE_SELECT 0x00u
#define VIRTIO_PCI_DEVICE_FEATURE 0x04u
#define VIRTIO_PCI_DRIVER_FEATURE_SELECT 0x08u
#define VIRTIO_PCI_DRIVER_FEATURE 0x0cu
#define VIRTIO_PCI_CONFIG_MSIX_VECTOR 0x10u
#define VIRTIO_PCI_NUM_QUEUES 0x12u
#define VIRTIO_PCI_STATUS 0x14u
#define VIRTIO_PCI_GENERATION 0x15u
#define VIRTIO_PCI_QUEUE_SELECT 0x16u
#define VIRTIO_PCI_QUEUE_SIZE 0x18u
#define VIRTIO_PCI_QUEUE_MSIX_VECTOR 0x1au
#define VIRTIO_PCI_QUEUE_ENABLE 0x1cu
#define VIRTIO_PCI_QUEUE_NOTIFY_OFF 0x1eu
#define VIRTIO_PCI_QUEUE_DESC 0x20u
#define VIRTIO_PCI_QUEUE_DRIVER 0x28u
#define VIRTIO_PCI_QUEUE_DEVICE 0x30u
#define VIRTIO_PCI_COMMON_BYTES 0x38u /* what every device has */
#define VIRTIO_PCI_QUEUE_NOTIF_DATA 0x38u
#define VIRTIO_PCI_QUEUE_RESET 0x3au

#define VIRTIO_PCI_NO_VECTOR 0xffffu

#define VIRTIO_PCI_ISR_QUEUE 1u
#define VIRTIO_PCI_ISR_CONFIG 2u

/* virtio 1.4, 4.1.4.10: the legacy interface, in BAR 0 */
#define VIRTIO_PCI_LEGACY_DEVICE_FEATURES 0x00u
#define VIRTIO_PCI_LEGACY_DRIVER_FEATURES 0x04u
#define VIRTIO_PCI_LEGACY_QUEUE_PFN 0x08u
#define VIRTIO_PCI_LEGACY_QUEUE_SIZE 0x0cu
#define VIRTIO_PCI_LEGACY_QUEUE_SELECT 0x0eu
#define VIRTIO_PCI_LEGACY_QUEUE_NOTIFY 0x10u
#define VIRTIO_PCI_LEGACY_STATUS 0x12u
#define VIRTIO_PCI_LEGACY_ISR 0x13u
#define VIRTIO_PCI_LEGACY_CONFIG 0x14u       /* of the device, with MSI-X disabled */
#define VIRTIO_PCI_LEGACY_CONFIG_VECTOR 0x14u /* with MSI-X enabled */
#define VIRTIO_PCI_LEGACY_QUEUE_VECTOR 0x16u
#define VIRTIO_PCI_LEGACY_CONFIG_MSIX 0x18u
#define VIRTIO_PCI_LEGACY_PAGE 4096u

#endif
