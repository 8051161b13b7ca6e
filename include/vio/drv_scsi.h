/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of SCSI hosts (virtio 1.4, 5.6): commands in batches on each request queue, task management, events of
 * units that come, go and change, and calls that wait for what one does with a disk.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: a request queue has one owner, which makes the calls marked "queue owner" for it; the rest is the control thread's.
 * Trust: the device and the units behind it are hostile. Responses are copied once; lengths of sense data, residuals, lists
 * of units and capacities are checked; a response that was not written is an error.
 */
#ifndef VIO_DRV_SCSI_H
#define VIO_DRV_SCSI_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_SCSI_QUEUES_MAX = 64,  /* of requests */
    VIO_DRV_SCSI_PIECES_MAX = 30,  /* of data of one command, both ways together */
    VIO_DRV_SCSI_CDB = 32,
    VIO_DRV_SCSI_SENSE = 96,
    VIO_DRV_SCSI_NO_RESPONSE = 0xff, /* what the response holds until the device writes one */
    VIO_DRV_SCSI_BOUNCE = 64 << 10,  /* bytes that the calls that wait copy through at once */
};

/* The address of a logical unit, as in requests (virtio 1.4, 5.6.6.1). */
struct vio_drv_scsi_lun {
    uint8_t bytes[8];
};
static inline struct vio_drv_scsi_lun vio_drv_scsi_lun(uint8_t target, uint16_t lun)
{
    return (struct vio_drv_scsi_lun){ { 1, target, (uint8_t)(0x40 | (lun >> 8 & 0x3f)), (uint8_t)lun } };
}

/* Data lies in memory that the device reaches, and is named by the addresses it has there. */
struct vio_drv_scsi_op {
    struct vio_drv_scsi_lun lun;
    uint8_t cdb[VIO_DRV_SCSI_CDB]; /* zeros behind it */
    uint8_t task_attr, prio, crn;  /* VIRTIO_SCSI_S_SIMPLE...; 0 for most */
    uint32_t nr_out, nr_in;        /* pieces the device reads, and writes; both only with INOUT */
    const struct vio_buf *out, *in;
    uint64_t token;                /* the caller's; comes back with the result */
};

struct vio_drv_scsi_result {
    uint64_t token;
    uint32_t residual;    /* bytes of the data that were not transferred; never more than there are */
    uint16_t status_qualifier;
    uint8_t status;       /* SCSI_STATUS_*, spec/scsi.h */
    uint8_t response;     /* VIRTIO_SCSI_S_*, or VIO_DRV_SCSI_NO_RESPONSE */
    /*
     * 0; -EIO: the unit says CHECK CONDITION, or a failure on the way; -EBUSY; -ENODEV: no such unit; -ECANCELED: aborted or
     * reset; -EOVERFLOW: OVERRUN; -EPROTO: a response that cannot be, or none.
     */
    int16_t error;
    uint8_t sense_len;
    uint8_t sense[VIO_DRV_SCSI_SENSE];
};

struct vio_drv_scsi_info {
    uint16_t queues;
    uint32_t seg_max;     /* pieces of one command, as the device and the queue allow */
    uint32_t max_sectors; /* of 512 bytes; a hint; UINT32_MAX: none */
    uint32_t cmd_per_lun; /* commands at a time; a hint; 0: none */
    uint16_t max_channel, max_target;
    uint32_t max_lun;
    bool inout, hotplug, change;
};

struct vio_drv_scsi_event {
    uint32_t event;  /* VIRTIO_SCSI_T_*, without EVENTS_MISSED */
    uint32_t reason;
    bool missed;     /* events were lost: look at every unit again */
    struct vio_drv_scsi_lun lun;
};

/* ------------------------------------------------------------------ the driver, and how it is wanted */

struct vio_drv_scsi_params {
    uint16_t queues;       /* of requests; 0: as many as the device has, at most VIO_DRV_SCSI_QUEUES_MAX */
    uint16_t queue_size;   /* 0: the largest, at most 128, which is what hosts behind vhost-user take */
    uint16_t indirect_max; /* descriptors of a command that go into a table; 0: no tables */
    /*
     * The configuration is neither read nor written: one queue, where `queues` says no more, and the specification's sizes. Hosts
     * over vhost-user have none: their front-end keeps it.
     */
    bool no_config;
    bool no_bounce;        /* no calls that wait with data: takes VIO_DRV_SCSI_BOUNCE bytes less */
    /* Used buffers of request queue `queue` are there, from vio_drvdev_event(). NULL: they are polled. Queue owner. */
    void (*used)(void *ctx, struct vio_drvdev *d, uint16_t queue);
    /* From vio_drvdev_event() and vio_drv_scsi_events(). NULL: of no interest. */
    void (*event)(void *ctx, struct vio_drvdev *d, const struct vio_drv_scsi_event *event);
    /* The device was reset: a command that never came back. NULL: of no interest. */
    void (*lost)(void *ctx, struct vio_drvdev *d, uint16_t queue, uint64_t token);
    void *ctx;
};

/* All defaults: every queue, polled. */
extern const struct vio_driver vio_driver_scsi;

/* The same driver, wanted otherwise: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_scsi_driver {
    struct vio_driver driver;
    struct vio_drv_scsi_params params;
};
void vio_drv_scsi_driver(struct vio_drv_scsi_driver *driver, const struct vio_drv_scsi_params *params);

/* ------------------------------------------------------------------ commands */

struct vio_drv_scsi;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_scsi *vio_drv_scsi_of(struct vio_drvdev *d);
struct vio_drv_scsi_info vio_drv_scsi_info(const struct vio_drv_scsi *s);

/*
 * Queue owner; queues of requests count from 0. Puts up to n commands; how many is returned, and when none, why not the first:
 * -EINVAL: an empty piece; -E2BIG: more pieces than one command may have; -ENOTSUP: both directions without INOUT; -EAGAIN:
 * no room before others have come back; -EIO: broken. Invisible to the device until published.
 */
int vio_drv_scsi_put(struct vio_drv_scsi *s, uint16_t queue, const struct vio_drv_scsi_op *ops, unsigned n) VIO_MUST_CHECK;
void vio_drv_scsi_publish(struct vio_drv_scsi *s, uint16_t queue);
unsigned vio_drv_scsi_collect(struct vio_drv_scsi *s, uint16_t queue, struct vio_drv_scsi_result *results, unsigned max);
uint32_t vio_drv_scsi_in_flight(const struct vio_drv_scsi *s, uint16_t queue);

/* READ or WRITE of `blocks` from `lba`, 10 bytes where they do, else 16. */
void vio_drv_scsi_cdb_rw(uint8_t cdb[VIO_DRV_SCSI_CDB], bool write, uint64_t lba, uint32_t blocks);

struct vio_drv_scsi_sense {
    uint8_t key, asc, ascq; /* SCSI_KEY_*, spec/scsi.h */
    bool deferred;          /* it is about an earlier command */
};
/* Fixed or descriptor format. False: neither, or too short. */
bool vio_drv_scsi_sense(const uint8_t *bytes, size_t len, struct vio_drv_scsi_sense *sense) VIO_MUST_CHECK;

/* ------------------------------------------------------------------ control and events */

/*
 * Task management; waits. subtype: VIRTIO_SCSI_T_TMF_*; token: of the command for ABORT_TASK and QUERY_TASK, found on
 * `queue`. *response: VIRTIO_SCSI_S_FUNCTION_COMPLETE and others. -ENOENT: no such command in flight; -EBUSY: an earlier one
 * timed out and is still out; -ETIMEDOUT; -EPROTO: no response; -EIO.
 */
int vio_drv_scsi_tmf(struct vio_drv_scsi *s, uint32_t subtype, struct vio_drv_scsi_lun lun, uint16_t queue, uint64_t token,
                     uint8_t *response, uint64_t ns) VIO_MUST_CHECK;
/* Which of the asynchronous events (VIRTIO_SCSI_EVT_ASYNC_*) the unit can tell; subscribe: and will from now on. */
int vio_drv_scsi_async(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, bool subscribe, uint32_t requested,
                       uint32_t *actual, uint64_t ns) VIO_MUST_CHECK;
/* Looks at the event queue: for those who poll. */
void vio_drv_scsi_events(struct vio_drv_scsi *s);

/* ------------------------------------------------------------------ calls that wait */

/*
 * Control thread, which owns request queue 0 for them: they look until it is done, or `ns` are over for one command. -EBUSY:
 * others are in flight on it, or one of these that timed out; -ETIMEDOUT; the error of the result.
 */

/* One command with at most VIO_DRV_SCSI_BOUNCE bytes of data; result has the rest of the story. */
int vio_drv_scsi_command(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, const uint8_t *cdb, uint32_t cdb_len,
                         const void *out, uint32_t out_len, void *in, uint32_t in_len, struct vio_drv_scsi_result *result,
                         uint64_t ns) VIO_MUST_CHECK;

int vio_drv_scsi_test_unit_ready(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, uint64_t ns) VIO_MUST_CHECK;
/* Bytes that came, or -errno. page: -1: the standard data; 0 to 255: vital product data. */
int vio_drv_scsi_inquiry(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, int page, void *to, uint16_t len, uint64_t ns)
    VIO_MUST_CHECK;
/* Units of a target: how many of max were filled in. Addresses of more than one level are left out. */
int vio_drv_scsi_report_luns(struct vio_drv_scsi *s, uint8_t target, uint16_t *luns, unsigned max, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_scsi_request_sense(struct vio_drv_scsi *s, struct vio_drv_scsi_lun lun, struct vio_drv_scsi_sense *sense,
                               uint64_t ns) VIO_MUST_CHECK;

struct vio_drv_scsi_disk {
    struct vio_drv_scsi_lun lun;
    uint64_t blocks;
    uint32_t block_size;
    uint8_t physical_exp;    /* logical blocks of a physical one, as a power of two */
    bool unmap;              /* thin provisioning: UNMAP makes sense */
    bool unmapped_reads_zero;
    char vendor[9], product[17], revision[5]; /* printable, without blanks at their ends */
};
/*
 * A unit that is a disk: waits for it to be ready, past unit attentions, and asks what it is. -ENODEV: nothing is there;
 * -EINVAL: it is no disk; -EPROTO: what it says cannot be.
 */
int vio_drv_scsi_disk_open(struct vio_drv_scsi *s, uint8_t target, uint16_t lun, struct vio_drv_scsi_disk *disk, uint64_t ns)
    VIO_MUST_CHECK;
/* Whole blocks. -EINVAL: they are not; -ERANGE: beyond the end. Long ones are cut into as many commands as it takes. */
int vio_drv_scsi_read(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t lba, void *to, size_t bytes,
                      uint64_t ns) VIO_MUST_CHECK;
int vio_drv_scsi_write(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t lba, const void *from,
                       size_t bytes, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_scsi_flush(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_scsi_unmap(struct vio_drv_scsi *s, const struct vio_drv_scsi_disk *disk, uint64_t lba, uint32_t blocks, uint64_t ns)
    VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
